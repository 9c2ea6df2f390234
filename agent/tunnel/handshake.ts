// One WebSocket handshake with one endpoint: dials, writes the head as it came, and says how it ended, exactly once. What
// the backend chose (a subprotocol, none, another) is the client's to judge; that it is a handshake at all is checked here,
// by `ws`, before anything is said to be open.
import { type ClientRequest, type IncomingMessage, validateHeaderName, validateHeaderValue } from "node:http";
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import { hostPort } from "../../src/shared/net/host-port.ts";
import { WEBSOCKET_MESSAGE_MAX } from "../../src/shared/wire/limits.ts";
import type { RequestHead } from "../../src/shared/wire/messages.ts";
import { HEAD_BYTES, type Patience } from "./pools.ts";

const KEEP_ALIVE_MS = 60_000;
/** Headers that `ws` writes itself, or that are of this hop alone; and those of a body, which a handshake does not have. */
const OWN: ReadonlySet<string> = new Set([
  "connection",
  "upgrade",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "content-length",
  "transfer-encoding",
]);

export interface Outcome {
  /** The backend agreed; `headers` of its 101, without those of this hop. */
  onOpen(socket: WebSocket, headers: readonly string[]): void;
  /** It answered otherwise. `response` is the caller's, and is to be read or destroyed. */
  onRefused(response: IncomingMessage): void;
  onFailed(failure: HandshakeFailure): void;
}

export interface HandshakeFailure {
  /** Unsent: no connection was made. Silent: nothing came back. Answered: what came is no handshake. Timeout: none came in time. */
  readonly stage: "unsent" | "silent" | "answered" | "timeout";
  readonly reason: string;
}

export type HandshakeHeaders = Record<string, string | string[]>;

/** The headers of a handshake's request; or, as a text, why the request cannot be sent as it came. */
export function handshakeHeaders({ target, headers }: RequestHead): HandshakeHeaders | string {
  for (let i = 0; i < target.length; i++) {
    const c = target.charCodeAt(i);
    if (c <= 0x20 || c > 0xff) return "the target has a character that no request line can have";
  }
  const sent = new Map<string, { name: string; values: string[] }>();
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    const lower = name.toLowerCase();
    if (OWN.has(lower)) continue;
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (error) {
      return (error as Error).message;
    }
    const before = sent.get(lower);
    if (before === undefined) sent.set(lower, { name, values: [value] });
    else if (lower === "host") return "there are two Host headers";
    else before.values.push(value);
  }
  // Without a prototype: a header may be called __proto__.
  const result: HandshakeHeaders = Object.create(null);
  for (const { name, values } of sent.values()) result[name] = values.length === 1 ? (values[0] as string) : values;
  return result;
}

/** The caller owns the socket from the start. One that it terminates before the end has failed, too. Never throws for what a peer says. */
export function shakeHands(
  { address, port }: { readonly address: string; readonly port: number },
  target: string,
  headers: HandshakeHeaders,
  patience: Patience,
  outcome: Outcome,
): WebSocket {
  let tcp: Socket | undefined;
  let connected = false;
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  const once = (tell: () => void): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    tell();
  };
  const options = {
    // Lists of values are Node.js's, which the types of `ws` do not know.
    headers: headers as Record<string, string>,
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: WEBSOCKET_MESSAGE_MAX,
    maxHeaderSize: HEAD_BYTES,
    createConnection: (() => {
      tcp = connect({ host: address, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
      const limit = setTimeout(
        () => tcp?.destroy(new Error(`no connection to ${address} port ${port} within ${patience.connect} ms`)),
        patience.connect,
      );
      tcp.once("connect", () => {
        connected = true;
        clearTimeout(limit);
      });
      tcp.once("close", () => clearTimeout(limit));
      return tcp;
    }) as typeof connect,
    finishRequest: (request: ClientRequest) => {
      // The target is not given with the URL, which would rewrite it.
      request.path = target;
      request.end();
    },
  };
  const socket = new WebSocket(`ws://${hostPort(address, port)}/`, options);
  const fail = (stage: HandshakeFailure["stage"], reason: string): void =>
    once(() => {
      socket.terminate();
      outcome.onFailed({ stage, reason });
    });
  timer = setTimeout(
    () => fail("timeout", `no answer to the handshake within ${patience.head / 1000} s`),
    patience.head,
  );

  let accepted: readonly string[] = [];
  socket.once("upgrade", (response) => {
    accepted = response.rawHeaders.filter(notOwn);
    // The client asked for a subprotocol, and `ws` did not: it would refuse one that it sees here, or miss one.
    delete response.headers["sec-websocket-protocol"];
  });
  socket.once("open", () => once(() => outcome.onOpen(socket, accepted)));
  socket.once("unexpected-response", (_request, response) => {
    if (over) response.destroy();
    else once(() => outcome.onRefused(response));
  });
  socket.on("error", (error) => {
    if (!connected) fail("unsent", error.message);
    else fail((tcp?.bytesRead ?? 0) > 0 ? "answered" : "silent", error.message);
  });
  socket.once("close", () => {
    over = true;
    clearTimeout(timer);
  });
  return socket;
}

/** Every second item is a value: it goes with the name before it. */
function notOwn(_item: string, index: number, all: readonly string[]): boolean {
  return !OWN.has((all[index - (index % 2)] as string).toLowerCase());
}
