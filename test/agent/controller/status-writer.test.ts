// The status writer where time and failure must be steered: against a scripted API server that answers patches as told.
import { setTimeout as pause } from "node:timers/promises";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EventRecorder } from "../../../agent/controller/event-recorder.ts";
import { FINALIZER } from "../../../agent/controller/status.ts";
import { StatusWriter } from "../../../agent/controller/status-writer.ts";
import type { KubeService } from "../../../agent/source/resources.ts";
import type { PublishResult, Snapshot } from "../../../src/shared/model/snapshot.ts";
import { type Instead, ScriptedApiServer, type Seen } from "../source/kube/server.ts";
import { ours, parsed, programmed } from "./services.ts";

let server: ScriptedApiServer;
let writer: StatusWriter;
let answer: (seen: Seen) => Instead | "hang";
let holds: boolean;
let warned: string[];
const api = () => server.api();
let client: ReturnType<typeof api>;

beforeEach(async () => {
  server = new ScriptedApiServer();
  server.instead = (seen) => answer(seen);
  await server.start();
  client = api();
  [answer, holds, warned] = [() => ({ status: 409 }), true, []];
  const log = pino({ level: "warn" }, { write: (line: string) => warned.push(JSON.parse(line).msg) });
  writer = new StatusWriter({
    api: client,
    log,
    events: new EventRecorder(client, "n1", log),
    exposedAs: ({ spec, metadata }) =>
      spec.type === "LoadBalancer" && metadata.deletionTimestamp === undefined ? "LoadBalancer" : undefined,
    holds: () => holds,
    random: () => 0,
  });
});
afterEach(async () => {
  await writer.stop();
  await client.close();
  await server.stop();
});

const paths = (method: string) => server.seen.filter((seen) => seen.method === method).map(({ url }) => url.pathname);
const patches = () => paths("PATCH").length;
const until = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 5 });
/**
 * Longer than the pause before a refused patch is sent again, which is 250 ms here. Requests go over real sockets, and nothing
 * tells that none will follow, so the time is real.
 */
const idle = () => pause(400);
const snapshotOf = (...services: KubeService[]) =>
  ({
    version: 1,
    nodes: [],
    services: services.map(({ metadata: { namespace, name, uid } }) => ({ namespace, name, uid, ports: [] })),
  }) as unknown as Snapshot;
const result = (hostname = "web.test"): PublishResult => ({
  generation: { epoch: 1, sequence: 1 },
  table: 1,
  changed: true,
  services: { "default/web": { hostnames: [hostname], conditions: [programmed] } },
});
const deleted = (version: string) =>
  ours({ metadata: { deletionTimestamp: "2026-01-31T12:00:00Z", resourceVersion: version, finalizers: [FINALIZER] } });

describe("status writer", () => {
  it("writes nothing where this agent leads no more", async () => {
    holds = false;
    writer.observe([parsed({})]);
    await idle();
    expect(patches()).toBe(0);
  });

  it.each([404, 409])("takes HTTP %i for an answer: only the watch has the next word", async (status) => {
    answer = () => ({ status });
    writer.observe([parsed({})]);
    await until(() => expect(patches()).toBe(1));
    await idle();
    expect(patches()).toBe(1);
    writer.observe([parsed({ metadata: { resourceVersion: "2" } })]);
    await until(() => expect(patches()).toBe(2));
    expect(warned).toEqual([]);
  });

  it.each<Instead>([{ status: 503 }, { status: 429 }])(
    "tries again after %o, without a word for each Service",
    async (trouble) => {
      answer = () => trouble;
      writer.observe([parsed({})]);
      await until(() => expect(patches()).toBe(3));
      expect(paths("POST")).toEqual([]);
      expect(warned).toEqual([]);
    },
  );

  it("says in log and Event what was refused", async () => {
    answer = ({ method }) => (method === "PATCH" ? { status: 403, body: { message: "no rights" } } : { status: 404 });
    writer.observe([parsed({})]);
    await until(() => expect(paths("POST")).toEqual(["/api/v1/namespaces/default/events"]));
    expect(warned).toEqual([
      expect.stringMatching(/^Service default\/web: its status could not be written \(mark\).*no rights/),
    ]);
  });

  it("lets a Service go after ten seconds without an edge, though the timer ends a millisecond early", async () => {
    answer = () => ({ status: 404 });
    const start = Date.now();
    let now = start;
    const clock = vi.spyOn(Date, "now").mockImplementation(() => now);
    const real = setTimeout;
    const timers = vi.spyOn(globalThis, "setTimeout").mockImplementation((call: () => void, ms = 0) => {
      const isOurs = new Error("where").stack?.includes("status-writer.ts") === true;
      if (isOurs) now += ms - 1;
      return real(call, isOurs ? 0 : ms);
    });
    try {
      writer.observe([deleted("2")]);
      await until(() => expect(patches()).toBe(1));
      expect(now - start).toBeGreaterThanOrEqual(10_000);
      expect(now - start).toBeLessThan(11_000);
    } finally {
      timers.mockRestore();
      clock.mockRestore();
    }
  });

  it("says nothing where the Service was deleted and made anew meanwhile", async () => {
    const body = parsed({ metadata: { uid: "u2" } });
    answer = ({ method }) => (method === "GET" ? { status: 200, body } : { status: 422 });
    writer.observe([parsed({})]);
    await until(() => expect(paths("GET")).toHaveLength(1));
    await idle();
    expect([paths("POST"), warned]).toEqual([[], []]);
  });

  it("works on the newest of watch and answers, and is not misled by an older watch event", async () => {
    const marked = ours({ ingress: [], writers: [], metadata: { resourceVersion: "5" } });
    answer = () => ({ status: 200, body: marked });
    writer.observe([parsed({})]);
    await until(() => expect(patches()).toBe(1));
    writer.observe([parsed({ metadata: { resourceVersion: "4", labels: { a: "b" } } })]);
    await idle();
    expect(patches()).toBe(1);
  });

  it("keeps the finalizer until the edge has taken a snapshot later than all that had the Service", async () => {
    const without = snapshotOf();
    const withIt = snapshotOf(ours());
    const after = snapshotOf();
    writer.observe([ours()]);
    writer.offered(without);
    writer.offered(withIt);
    writer.observe([deleted("2")]);
    writer.offered(after);
    writer.conclude({ ...result(), services: {} }, without);
    await idle();
    expect(patches()).toBe(0);
    writer.conclude(result(), withIt);
    await idle();
    expect(patches()).toBe(0);
    writer.conclude({ ...result(), services: {} }, after);
    await until(() => expect(patches()).toBe(1));
  });

  it("writes nothing of what the edge says of another Service of the same name", async () => {
    const other = ours({ metadata: { uid: "u2", finalizers: [FINALIZER] } });
    writer.observe([other]);
    const snapshot = snapshotOf(ours());
    writer.offered(snapshot);
    writer.conclude(result("other.test"), snapshot);
    await idle();
    expect(patches()).toBe(0);
  });

  it("lets the patch under way end when it is stopped, and begins no other", async () => {
    answer = () => "hang";
    writer.observe(Array.from({ length: 40 }, (_, index) => parsed({ metadata: { name: `s${index}` } })));
    await until(() => expect(patches()).toBe(16));
    const stopped = writer.stop();
    await server.stop();
    await stopped;
    expect(patches()).toBe(16);
  });
});
