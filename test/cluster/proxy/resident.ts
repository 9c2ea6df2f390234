// The process in each network namespace: serves TCP and UDP with its name and with the source that it saw, and asks once
// where it is told to. `node resident.ts NAME`, driven over the IPC channel (residents.ts); ends with its parent.
import { createSocket, type RemoteInfo } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { answerQuestions } from "./channel.ts";
import { families, type Family, type Protocol } from "./row.ts";
import { answerSchema, type Outcome, type Question, questionSchema } from "./messages.ts";

const [name = ""] = process.argv.slice(2);
const wildcard: Readonly<Record<Family, string>> = { IPv4: "0.0.0.0", IPv6: "::" };

answerQuestions(questionSchema, answer);

async function answer(question: Question): Promise<Outcome> {
  try {
    if (question.do === "ask") return await ask(question);
    if (question.do === "get") return await get(question);
    if (question.do === "release") return await release(question.server);
    await Promise.all(
      question.ports.flatMap((port) => families.flatMap((family) => [serveTcp(family, port), serveUdp(family, port)])),
    );
    return { kind: "done" };
  } catch (error) {
    return { kind: "error", code: codeOf(error) };
  }
}

async function serveTcp(family: Family, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => {}); // a client that has gone
    // The client closes, when it wants to.
    socket.write(`${said(socket.remoteAddress, socket.remotePort)}\n`);
    socket.resume();
  });
  server.listen({ host: wildcard[family], port, ipv6Only: family === "IPv6", backlog: 511 });
  await once(server, "listening");
}

async function serveUdp(family: Family, port: number): Promise<void> {
  const server = createSocket({ type: typeOf(family), ipv6Only: family === "IPv6" });
  server.on("message", (_data: Buffer, from: RemoteInfo) =>
    server.send(said(from.address, from.port), from.port, from.address),
  );
  server.bind({ address: wildcard[family], port });
  await once(server, "listening");
  // Only now: a failing bind is the caller's to hear of.
  server.on("error", () => {});
}

const said = (source: string | undefined, sourcePort: number | undefined): string =>
  JSON.stringify({ name, source, sourcePort });

type Ask = Extract<Question, { do: "ask" }>;
const ask = (question: Ask): Promise<Outcome> => asking[question.protocol](question);
const asking: Readonly<Record<Protocol, (question: Ask) => Promise<Outcome>>> = { TCP: askTcp, UDP: askUdp };

/** By the names of their servers. */
const held = new Map<string, Socket[]>();

async function release(server: string): Promise<Outcome> {
  const sockets = held.get(server) ?? [];
  held.delete(server);
  await Promise.all(
    sockets.map((socket) => {
      socket.end();
      return once(socket, "close");
    }),
  );
  return { kind: "done" };
}

function askTcp({ address, port, fromAddress, withinMs, hold }: Ask): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, ...(fromAddress && { localAddress: fromAddress }) });
    let own: { address: string; port: number } | undefined;
    let text = "";
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      if (hold && outcome.kind === "answer") held.set(outcome.name, [...(held.get(outcome.name) ?? []), socket]);
      else socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ kind: "drop" }), withinMs);
    socket.setEncoding("utf8");
    socket.on("connect", () => (own = { address: socket.localAddress ?? "", port: socket.localPort ?? 0 }));
    socket.on("data", (piece: string) => {
      text += piece;
      if (text.endsWith("\n") && own !== undefined) end(answered(text, own));
    });
    socket.on("end", () => end({ kind: "error", code: "ENDED" }));
    socket.on("error", (error) => end(failed(codeOf(error))));
  });
}

function askUdp({ family, address, port, fromPort, withinMs }: Ask): Promise<Outcome> {
  return new Promise((resolve) => {
    // Connected, so that an ICMP error reaches it.
    const socket = createSocket({ type: typeOf(family), ipv6Only: family === "IPv6" });
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.close();
      socket.removeAllListeners();
      socket.on("error", () => {});
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ kind: "drop" }), withinMs);
    socket.on("message", (data) => end(answered(data.toString(), socket.address())));
    socket.on("error", (error) => end(failed(codeOf(error))));
    if (fromPort !== undefined) socket.bind(fromPort);
    socket.connect(port, address, () => {
      socket.send("?", (error) => {
        // A packet that the own node's output rules drop is refused to its sender: EPERM. That is a drop, and the timer says so.
        if (error && codeOf(error) !== "EPERM") end(failed(codeOf(error)));
      });
    });
  });
}

function answered(text: string, own: { readonly address: string; readonly port: number }): Outcome {
  const parsed = answerSchema.safeParse(JSON.parse(text));
  if (!parsed.success) return { kind: "error", code: "GARBLED" };
  const { name, source, sourcePort } = parsed.data;
  return { kind: "answer", name, source, sameAddress: source === own.address, samePort: sourcePort === own.port };
}

/** An RST, or an ICMP "port unreachable", to TCP and UDP alike. */
const failed = (code: string): Outcome => (code === "ECONNREFUSED" ? { kind: "reject" } : { kind: "error", code });

async function get({ url, withinMs }: Extract<Question, { do: "get" }>): Promise<Outcome> {
  const response = await fetch(url, { signal: AbortSignal.timeout(withinMs) });
  return {
    kind: "page",
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}

const typeOf = (family: Family): "udp4" | "udp6" => (family === "IPv4" ? "udp4" : "udp6");

function codeOf(error: unknown): string {
  const { code, cause, name } = error as { code?: unknown; cause?: unknown; name?: string };
  if (typeof code === "string") return code;
  return cause === undefined ? (name ?? "unknown") : codeOf(cause);
}
