// How often servers see one request, for every way in which their answer can break: what src/shared/http/repeat.ts allows, counted
// where it counts. POST and PATCH once; the others by its numbers, and once where the answer came and could not be used.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AGENT_SIGHTINGS, DIRECT_SIGHTINGS } from "../../src/shared/http/repeat.ts";
import { isAlive } from "../e2e/emulation.ts";
import { cutPoints } from "./answers.ts";
import { Backend, type Behaviour, response } from "./backend.ts";
import { type EdgeProgram, inFlight, startEdge } from "./programs.ts";
import { type Answer, Wire } from "./wire.ts";

const BACKENDS = ["127.52.1.1", "127.52.1.2"];
const transports = ["tun", "dir"] as const;
/**
 * By src/shared/http/repeat.ts, of an idempotent request whose answer broke: two by the agent, three by transport direct. Nothing
 * bounds GET and HEAD without a body there: workerd sends them again for each kept connection that breaks.
 */
const mostOf = (service: (typeof transports)[number], method: string, headers: string): number => {
  if (service === "tun") return AGENT_SIGHTINGS;
  return headers === "" && (method === "GET" || method === "HEAD") ? Number.POSITIVE_INFINITY : DIRECT_SIGHTINGS;
};
const methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"];
const bodies: readonly [name: string, headers: string, body: string][] = [
  ["no body", "", ""],
  ["a small body", "Content-Length: 5\r\n", "hello"],
  ["a chunked body", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"],
];

interface Break {
  readonly name: string;
  readonly backend: Behaviour;
  /** It is an answer, if none that can be used: never repeated, whatever the method. */
  readonly final?: boolean;
  /** fetch(), by which transport direct asks, does not tell it from a connection that broke. */
  readonly unreadable?: boolean;
}

const cut = (text: string, then: "end" | "reset", early = false): Behaviour => ({
  early,
  answer(socket) {
    const done = () => (then === "end" ? socket.end() : void setTimeout(() => socket.resetAndDestroy(), 30));
    if (text === "") done();
    else socket.write(Buffer.from(text, "latin1"), done);
  },
});
const says = (head: string, body = ""): Behaviour => ({ answer: (socket) => void socket.write(response(head, body)) });

const breaks: readonly Break[] = [
  ...cutPoints.flatMap(([where, text]) =>
    (["end", "reset"] as const).map(
      (then): Break => ({
        name: `cut ${where} by ${then === "end" ? "FIN" : "RST"}`,
        backend: cut(text, then),
        // A head that was passed on cannot be taken back.
        final: text.includes("\r\n\r\n") && !text.startsWith("HTTP/1.1 100"),
      }),
    ),
  ),
  { name: "cut by RST before the body was read", backend: cut("", "reset", true) },
  { name: "a status that is none", backend: says("HTTP/1.1 999 X\nContent-Length: 0"), final: true },
  { name: "a status below 100", backend: says("HTTP/1.1 000 X\nContent-Length: 0"), final: true, unreadable: true },
  {
    name: "no HTTP",
    backend: { answer: (socket) => void socket.end("SSH-2.0-x\r\n\r\n") },
    final: true,
    unreadable: true,
  },
  {
    name: "two lengths",
    backend: says("HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3", "okk"),
    final: true,
    unreadable: true,
  },
  { name: "a bad chunk", backend: says("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "zz\r\n"), final: true },
  { name: "a control character", backend: says("HTTP/1.1 200 OK\nX-A: a\x01b\nContent-Length: 0"), final: true },
  {
    name: "a head of 17,000 bytes",
    backend: says(`HTTP/1.1 200 OK\nX-A: ${"x".repeat(17_000)}\nContent-Length: 0`),
    final: true,
  },
  {
    name: "a head of 600,000 bytes",
    backend: says(`HTTP/1.1 200 OK\nX-A: ${"x".repeat(600_000)}\nContent-Length: 0`),
    final: true,
    unreadable: true,
  },
  {
    name: "101 unasked",
    backend: says("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: foo"),
    final: true,
    unreadable: true,
  },
  { name: "205 with a body", backend: says("HTTP/1.1 205 Reset\nContent-Length: 2", "ok"), final: true },
  { name: "502 of its own", backend: says("HTTP/1.1 502 Bad\nContent-Length: 0"), final: true },
  { name: "503 of its own", backend: says("HTTP/1.1 503 Busy\nRetry-After: 1\nContent-Length: 0"), final: true },
  {
    name: "a slow 200",
    backend: {
      answer: (socket) => void setTimeout(() => socket.write(response("HTTP/1.1 200 OK\nContent-Length: 0")), 2_500),
    },
  },
];

let backend: Backend;
let edge: EdgeProgram;
let servers: number[];
let sent = 0;
let arrived = 0;
/** Of every request: its row, and how often it may be seen at most, whatever breaks beside it. */
const limits = new Map<string, number>();
/** A test that is run again asks with other ids. */
let runs = 0;
beforeAll(async () => {
  backend = new Backend();
  await backend.listen(BACKENDS);
  const endpoints = { addresses: BACKENDS, port: backend.port };
  edge = await startEdge(
    [
      { name: "tun", transport: "tunnel", endpoints },
      { name: "dir", transport: "direct", endpoints },
    ],
    { address: "127.50.1.1" },
  );
  servers = [...edge.servers(), ...edge.agents.values()];
});
afterAll(async () => {
  await edge?.stop();
  backend?.close();
});

async function ask(
  service: string,
  id: string,
  method: string,
  headers: string,
  body: string,
): Promise<Answer | undefined> {
  const door = edge.door(service);
  using wire = await Wire.connect(door);
  wire.send(`${method} /once HTTP/1.1\r\nHost: ${door.authority}\r\nX-Row: ${id}\r\n${headers}\r\n${body}`, method);
  // Answers to HEAD and heads that were passed on are there at once; what breaks later is the table's matter.
  return await wire.head(1, 15_000);
}

test.concurrent.for(breaks.map((each, index) => ({ ...each, index })))(
  "$name",
  async ({ name, backend: behaviour, final, unreadable, index }) => {
    const row = `s${index}`;
    backend.on(row, behaviour);
    const problems: string[] = [];
    const run = ++runs;
    for (const service of transports)
      for (const [body, headers, bytes] of bodies)
        await Promise.all(
          methods.map(async (method, i) => {
            const idempotent = method !== "POST" && method !== "PATCH";
            const repeatable = !final || (unreadable && service === "dir");
            const most = idempotent && repeatable ? mostOf(service, method, headers) : 1;
            // On a busy machine a node may be silent for a second, and then it is lost: within the rules, but not three times.
            const within = idempotent ? mostOf(service, method, headers) : 1;
            const once = async (id: string) => {
              limits.set(id, within);
              const answer = await ask(service, id, method, headers, bytes);
              return { count: backend.seen(id).length, status: answer?.status ?? "none" };
            };
            const id = `${row}.${service}.${i}.${headers.slice(0, 3)}.${run}`;
            const first = await once(id);
            sent++;
            if (first.count > 0) arrived++;
            let { count, status } = first;
            for (let again = 1; again < 3 && count > most && count <= within; again++)
              ({ count, status } = await once(`${id}.${again}`));
            if (count > most)
              problems.push(
                `${service}: ${method} with ${body} was seen ${count} times and not ${most} at most (answer: ${status})`,
              );
          }),
        );
    if (problems.length > 0) throw new Error(`${name}\n  ${problems.join("\n  ")}`);
  },
);

test.concurrent("a POST with an Idempotency-Key is repeated as the others are", async () => {
  backend.on("key", cut("", "reset"));
  for (const service of transports) {
    const [id, headers] = [`key.${service}.${++runs}`, "Idempotency-Key: 1\r\nContent-Length: 5\r\n"];
    await ask(service, id, "POST", headers, "hello");
    expect(backend.seen(id).length).toBeLessThanOrEqual(mostOf(service, "POST", headers));
  }
});

test("most requests did arrive, and nothing comes later", async () => {
  expect(arrived).toBeGreaterThan(sent * 0.6);
  // Repeats of the listener proxy were 100 ms apart.
  await delay(500);
  const late = [...limits].map(([id, most]) => [id, backend.seen(id).length, most] as const);
  expect(late.filter(([, count, most]) => count > most)).toEqual([]);
});

test("afterwards: the same processes, no stream left", async () => {
  expect(servers.filter((pid) => !isAlive(pid))).toEqual([]);
  await expect
    .poll(async () => [...(await inFlight(edge))], { timeout: 20_000, interval: 250 })
    .toEqual([
      ["n1", 0],
      ["n2", 0],
    ]);
});
