// Sends one request as a client of this machine does, and looks for it in the edge's access log. An effect; each step ends by itself
// within its time, and what went wrong is what is returned.
import { randomBytes } from "node:crypto";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { ControlClient } from "../../src/shared/control/client.ts";
import type { LogRecord } from "../../src/shared/control/access-log.ts";
import { hostHeader } from "../output.ts";
import { lookUp } from "./lookup.ts";
import type { ClientSide, ListenerAsk, Traced } from "./facts.ts";

const ANSWER_MS = 3_000;
/** The edge hands its log over so soon after an answer, with some to spare, ms. */
const LOGGED_MS = 1_500;
/** Parts of the edge that serve by direct hear with their next table that the log is read: within 5 s. */
const TIMES_MOST = 4;

export async function traced(where: ListenerAsk, control: ControlClient, cluster: string): Promise<Traced> {
  const id = randomBytes(16).toString("hex");
  const enough = new AbortController();
  const { promise: begun, resolve: onBegun } = Promise.withResolvers<void>();
  const { promise: found, resolve: onFound } = Promise.withResolvers<LogRecord>();
  const reading = control.logs(
    cluster,
    { trace: id },
    (line) => {
      onBegun();
      if (line.kind === "request") onFound(line.request);
    },
    enough.signal,
  );
  try {
    const refused = await Promise.race([begun, reading.then((answer) => (answer.ok ? "it ended" : answer.why))]);
    if (typeof refused === "string") return { where, id, client: await asked(where, id), unread: refused };
    for (let times = 1; ; times++) {
      const client = await asked(where, id);
      const record = await Promise.race([found, later(LOGGED_MS)]);
      if (record !== undefined) return { where, id, client, record };
      if (times === TIMES_MOST || client.failed !== undefined) return { where, id, client };
    }
  } finally {
    enough.abort(new Error("enough"));
    await reading;
  }
}

const later = (ms: number): Promise<undefined> =>
  new Promise((resolve) => void setTimeout(() => resolve(undefined), ms).unref());

/** Certificates are judged apart. */
async function asked({ hostname, port, tls }: ListenerAsk, id: string): Promise<ClientSide> {
  let last = performance.now();
  const lap = (): number => {
    const now = performance.now();
    const took = Math.round(now - last);
    last = now;
    return took;
  };
  const seen: { -readonly [Name in keyof ClientSide]: ClientSide[Name] } = {};
  try {
    const [address = ""] = await lookUp(hostname);
    seen.lookupMs = lap();
    seen.address = address;
  } catch (error) {
    return { failed: `${hostname}: ${(error as Error).message}` };
  }
  const host = hostHeader(hostname, port, tls);
  const span = randomBytes(8).toString("hex");
  const headers = { host, traceparent: `00-${id}-${span}-01`, "user-agent": "postern-doctor" };
  const options = { host: seen.address, port, path: "/", agent: false, headers, timeout: ANSWER_MS } as const;
  return await new Promise((resolve) => {
    const asking = tls
      ? requestHttps({ ...options, servername: hostname, rejectUnauthorized: false })
      : requestHttp(options);
    asking.once("socket", (socket) => {
      socket.once("connect", () => (seen.connectMs = lap()));
      socket.once("secureConnect", () => (seen.handshakeMs = lap()));
    });
    asking.once("response", (response) => {
      seen.answerMs = lap();
      if (response.statusCode !== undefined) seen.status = response.statusCode;
      const reason = response.headers["x-postern-reason"];
      if (typeof reason === "string") seen.reason = reason;
      response.once("error", () => {});
      response.destroy();
      resolve(seen);
    });
    asking.once("timeout", () => asking.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    asking.once("error", (error) => resolve({ ...seen, failed: error.message }));
    asking.end();
  });
}
