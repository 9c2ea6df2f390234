// Who reads the access log: what each is given, what is left out where one is slow, and that nothing stays of one who has gone.
import { expect, it } from "vitest";
import { LogWatchers, WATCHED_MS } from "../../../src/edge/cluster/log-watchers.ts";
import { type LogLine, logLineSchema, type LogRecord } from "../../../src/shared/control/access-log.ts";
import { Clock } from "../forward/clock.ts";

const record = (path: string, status = 200): LogRecord => ({
  ...{ at: 0, ms: 1, client: "", scheme: "http", hostname: "a.test", port: 80, method: "GET", path, status },
  ...{ reason: null, service: "default/web", transport: "tunnel", tries: [], trace: null, userAgent: null },
});

/** All lines that are there. */
async function taken(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<LogLine[]> {
  const { value } = await reader.read();
  const text = new TextDecoder().decode(value);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => logLineSchema.parse(JSON.parse(line)));
}

function watched() {
  const clock = new Clock();
  const told: number[] = [];
  const watchers = new LogWatchers({ now: clock.now, later: clock.later }, (until) => void told.push(until));
  const read = (filter = {}) => watchers.watch(filter)?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  return { clock, told, watchers, read };
}

it("a slow reader loses the newest lines, and is told how many", async () => {
  const { watchers, read } = watched();
  const [slow, other] = [read(), read({ status: "5xx" })];
  expect(await taken(slow)).toEqual([{ kind: "alive" }]);
  for (let i = 0; i < 600; i++) watchers.add([record("/a"), record("/b", 502)], 0);
  watchers.add([], 5);
  const lines = await taken(slow);
  expect(lines).toHaveLength(1_001);
  expect(lines.at(-1)).toEqual({ kind: "left-out", count: 205 });
  // The other's filter leaves out what it did not ask for, and not what is counted for all.
  const others = await taken(other);
  expect(others.filter(({ kind }) => kind === "request")).toHaveLength(600);
  expect(others.at(-1)).toEqual({ kind: "left-out", count: 5 });
  watchers.add([record("/c")], 0);
  expect(await taken(slow)).toEqual([{ kind: "request", request: record("/c") }]);
});

it("says at every beat that it is read, for as long as it is", async () => {
  const { clock, told, watchers, read } = watched();
  expect(watchers.until).toBe(0);
  const reader = read();
  expect(told).toEqual([clock.now() + WATCHED_MS]);
  await clock.pass(5_000);
  expect(told.at(-1)).toBe(clock.now() + WATCHED_MS);
  expect(await taken(reader)).toEqual([{ kind: "alive" }, { kind: "alive" }]);
  await reader.cancel();
  await clock.pass(60_000);
  expect([told.length, clock.waiting]).toEqual([2, 0]);
});

it("lets one go that takes nothing for a minute, and tells one that waits that it goes on", async () => {
  const { clock, watchers, read } = watched();
  const [idle, waiting] = [read(), read()];
  await taken(waiting);
  for (let at = 0; at < 65_000; at += 5_000) {
    const next = taken(waiting);
    await clock.pass(5_000);
    expect((await next)[0]).toEqual({ kind: "alive" });
  }
  watchers.add([record("/late")], 0);
  let lines = 0;
  for (let step = await idle.read(); !step.done; step = await idle.read()) lines++;
  expect(lines).toBe(1);
  expect((await taken(waiting))[0]).toMatchObject({ kind: "request" });
});

it("eight read at once, no more, until one goes", async () => {
  const { read, watchers } = watched();
  const readers = Array.from({ length: 8 }, () => read());
  expect(watchers.watch({})).toBeUndefined();
  await readers[0]?.cancel();
  expect(watchers.watch({})).toBeDefined();
});

it("all readings end with the cluster", async () => {
  const { read, watchers } = watched();
  const reader = read();
  await taken(reader);
  const next = reader.read();
  watchers.endAll();
  expect((await next).done).toBe(true);
});
