// Uploads of all sizes while nodes stop, go on and die and workerd starts anew: what was answered 2xx is stored whole, nothing
// whole is anything else than what was sent, and nothing is stored more often than src/shared/http/repeat.ts allows.
import { createHash, randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SIGHTINGS_MAX } from "../../src/shared/http/repeat.ts";
import { isAlive } from "../e2e/emulation.ts";
import { Backend, response } from "./backend.ts";
import { type EdgeProgram, inFlight, startEdge, statusAt } from "./programs.ts";
import { Wire } from "./wire.ts";

const BACKENDS = ["127.52.3.1", "127.52.3.2"];
const WRITERS = 10;
const sizes = [0, 1, 1_000, 16_384, 60_000, 65_536, 65_537, 100_000, 190_000, 262_144, 400_000, 1_048_576];

interface Upload {
  readonly id: string;
  readonly what: string;
  readonly bytes: number;
  readonly sha256: string;
  /** 0: no answer. */
  status: number;
  reason: string;
}

let backend: Backend;
let edge: EdgeProgram;
let servers: number[];
beforeAll(async () => {
  backend = new Backend();
  await backend.listen(BACKENDS);
  backend.fallback = {
    // Some take a moment, so that nodes are lost with requests on them.
    answer: (socket, { bodyBytes }) => {
      const answer = () =>
        void socket.write(
          response(`HTTP/1.1 201 Created\nContent-Length: ${String(bodyBytes).length}`, String(bodyBytes)),
        );
      if (randomInt(3) === 0) setTimeout(answer, randomInt(300));
      else answer();
    },
  };
  const endpoints = { addresses: BACKENDS, port: backend.port };
  edge = await startEdge([{ name: "store", transport: "tunnel", endpoints }], {
    address: "127.50.3.1",
    nodes: 3,
  }).catch((error: unknown) => {
    throw new Error("the edge did not start", { cause: error });
  });
  servers = edge.servers();
});
afterAll(async () => {
  for (const pid of edge?.agents.values() ?? []) if (isAlive(pid)) process.kill(pid, "SIGCONT");
  await edge?.stop();
  backend?.close();
});

/** Of all tries: no two uploads have one id. */
let begun = 0;

async function upload(uploads: Upload[]): Promise<void> {
  const n = begun++;
  const bytes = sizes[n % sizes.length] ?? 0;
  const chunked = (n / sizes.length) % 2 >= 1;
  const method = n % 3 === 0 ? "POST" : "PUT";
  // Each its own bytes, so that no other's can be taken for them.
  const body = Buffer.alloc(bytes, `${n}.`);
  const each: Upload = {
    id: `u${n}`,
    what: `${method} of ${bytes} bytes, ${chunked ? "chunked" : "with a length"}`,
    bytes,
    sha256: createHash("sha256").update(body).digest("hex"),
    status: 0,
    reason: "",
  };
  uploads.push(each);
  const door = edge.door("store");
  try {
    using wire = await Wire.connect(door);
    const framing = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes}`;
    wire.send(
      `${method} /${each.id} HTTP/1.1\r\nHost: ${door.authority}\r\nX-Row: ${each.id}\r\nConnection: close\r\n${framing}\r\n\r\n`,
      method,
    );
    for (let at = 0; at < bytes; at += 50_000) {
      const part = body.subarray(at, at + 50_000);
      if (chunked) wire.send(`${part.length.toString(16)}\r\n`);
      wire.send(part);
      if (chunked) wire.send("\r\n");
      await new Promise(setImmediate);
    }
    if (chunked) wire.send("0\r\n\r\n");
    const answer = await wire.answer(30_000);
    each.status = answer?.status ?? 0;
    each.reason = answer?.body.toString("latin1", 0, 160) ?? "";
  } catch (error) {
    each.reason = String(error);
  }
}

/** Until so many more uploads are through, or this time is up: a node may be stopped with all of them. */
async function afterMore(uploads: readonly Upload[], count: number, withinMs: number): Promise<void> {
  const want = uploads.length + count;
  for (const deadline = performance.now() + withinMs; uploads.length < want && performance.now() < deadline; )
    await delay(20);
}

test("uploads under chaos are whole, or fail", { timeout: 180_000 }, async ({ onTestFinished }) => {
  const uploads: Upload[] = [];
  const chaos = { over: false };
  onTestFinished(() => void (chaos.over = true));
  const writers = Array.from({ length: WRITERS }, async () => {
    while (!chaos.over) await upload(uploads);
  });
  const more = (count: number, withinMs: number) => afterMore(uploads, count, withinMs);
  const agent = (name: string) => edge.agents.get(name) as number;
  await more(100, 5_000);
  for (const name of ["n1", "n2", "n3"]) {
    process.kill(agent(name), "SIGSTOP");
    await more(250, 3_000);
    process.kill(agent(name), "SIGCONT");
    await more(60, 1_500);
  }
  edge.restartWorkerd();
  await more(150, 5_000);
  for (const name of ["n2", "n3"]) {
    process.kill(agent(name), "SIGKILL");
    await more(100, 2_000);
    edge.startAgent(name);
    await more(60, 2_000);
  }
  process.kill(agent("n1"), "SIGSTOP");
  edge.restartWorkerd();
  await more(150, 5_000);
  process.kill(agent("n1"), "SIGCONT");
  await more(60, 3_000);
  chaos.over = true;
  await Promise.all(writers);

  const problems = uploads.flatMap(({ id, what, bytes, sha256, status }) => {
    const seen = backend.seen(id);
    const whole = seen.filter((each) => each.whole);
    const most = what.startsWith("POST") ? 1 : SIGHTINGS_MAX;
    return [
      ...(status >= 200 && status < 300 && !whole.some((each) => each.sha256 === sha256)
        ? [`${id} ${what}: answered ${status}, and no server has it`]
        : []),
      ...whole
        .filter((each) => each.sha256 !== sha256)
        .map(
          (each) => `${id} ${what}: a server stored ${each.bodyBytes} bytes instead of ${bytes} (answer: ${status})`,
        ),
      ...(seen.length > most
        ? [`${id} ${what}: seen ${seen.length} times and not ${most} at most (answer: ${status})`]
        : []),
    ];
  });
  expect(problems.slice(0, 20)).toEqual([]);
  const stored = uploads.filter(({ status }) => status === 201).length;
  const failed = uploads.filter(({ status }) => status !== 201);
  // Chaos may cost requests, not service.
  expect(
    stored,
    failed
      .slice(0, 10)
      .map(({ what, status, reason }) => `${what}: ${status} ${reason}`)
      .join("\n"),
  ).toBeGreaterThan(uploads.length * 0.8);
  expect(uploads.length).toBeGreaterThan(300);
});

test("afterwards all is well", async () => {
  await expect.poll(async () => statusAt(edge.door("store")), { timeout: 20_000 }).toBe(201);
  await expect
    .poll(async () => [...(await inFlight(edge))], { timeout: 40_000, interval: 250 })
    .toEqual([
      ["n1", 0],
      ["n2", 0],
      ["n3", 0],
    ]);
  const [supervisor] = servers;
  expect(isAlive(supervisor as number)).toBe(true);
});
