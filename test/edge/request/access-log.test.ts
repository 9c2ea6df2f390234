// What an isolate writes down of answered requests, and how it hands that over.
import { describe, expect, it } from "vitest";
import { AccessLog, type Answered, recordOf } from "../../../src/edge/request/access-log.ts";
import type { Candidate } from "../../../src/edge/request/tables.ts";
import type { LogRecord } from "../../../src/shared/control/access-log.ts";
import { traceIdOf } from "../../../src/shared/control/access-log.ts";
import { Clock } from "../forward/clock.ts";

const candidate = {
  table: { name: "home" },
  match: { hostname: "web.test", host: "web.test:8080", port: 8080, route: { service: "default/web" } },
} as unknown as Candidate;

const answered = (target = "/", more: Partial<Answered> = {}): Answered => ({
  request: new Request("http://web.test:8080/", { headers: { "user-agent": "u".repeat(600) } }),
  from: { client: "203.0.113.9", port: 8080, scheme: "http", again: false, trusted: false },
  target,
  candidate,
  arrivedAt: 1_000,
  response: new Response(null, { status: 503, headers: { "x-postern-reason": "no-endpoints" } }),
  tries: [],
  transport: "tunnel",
  ...more,
});

describe("a record", () => {
  it("has the path without its query, and cuts what a client chose", () => {
    const { path, userAgent, ...rest } = recordOf(answered(`/${"p".repeat(600)}?token=secret`), 1_250);
    expect([path.length, userAgent?.length]).toEqual([513, 513]);
    expect(rest).toEqual({
      at: 1_000,
      ms: 250,
      client: "203.0.113.9",
      scheme: "http",
      hostname: "web.test",
      port: 8080,
      method: "GET",
      status: 503,
      reason: "no-endpoints",
      service: "default/web",
      transport: "tunnel",
      tries: [],
      trace: null,
    });
  });

  it.each([
    ["00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", "0af7651916cd43dd8448eb211c80319c"],
    ["cc-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more", "0af7651916cd43dd8448eb211c80319c"],
    ["ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", null],
    ["00-00000000000000000000000000000000-00f067aa0ba902b7-01", null],
    ["00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01", null],
    ["0af7651916cd43dd8448eb211c80319c", null],
    [null, null],
  ])("trace id of %s", (header, id) => expect(traceIdOf(header)).toBe(id));
});

function log() {
  const clock = new Clock();
  const handed: { records: readonly LogRecord[]; leftOut: number }[] = [];
  const kept: Promise<unknown>[] = [];
  const timers: { isLost: boolean }[] = [];
  const later = (ms: number, call: () => void): (() => void) => {
    const timer = { isLost: false };
    timers.push(timer);
    return clock.later(ms, () => {
      if (!timer.isLost) call();
    });
  };
  const access = new AccessLog({ now: clock.now, later });
  const objects = {
    CLUSTER: {
      getByName: () => ({
        log: (records: readonly LogRecord[], leftOut: number) =>
          Promise.resolve(void handed.push({ records, leftOut })),
      }),
    },
  };
  const add = (target: string): void =>
    access.add(answered(target), objects, { waitUntil: (work: Promise<unknown>) => void kept.push(work) });
  const lose = (): void => timers.forEach((timer) => (timer.isLost = true));
  return { clock, handed, kept, add, lose };
}

describe("handing over", () => {
  it("takes all that came within a fifth of a second at once, and so much", async () => {
    const { clock, handed, kept, add } = log();
    for (let i = 0; i < 510; i++) add(`/${i}`);
    expect([handed.length, kept.length]).toEqual([0, 1]);
    await clock.pass(200);
    await Promise.all(kept);
    expect(handed.map(({ records, leftOut }) => [records.length, leftOut])).toEqual([[500, 10]]);
    add("/next");
    await clock.pass(200);
    await Promise.all(kept);
    expect(handed.map(({ records }) => records.length)).toEqual([500, 1]);
  });

  it("is begun anew where the request that was to do it was lost with what it waited for", async () => {
    const { clock, handed, kept, add, lose } = log();
    add("/lost");
    // The platform forgets its timer, which is another's from now on.
    lose();
    await clock.pass(4_000);
    add("/waits");
    expect(kept).toHaveLength(1);
    await clock.pass(1_000);
    add("/after");
    await clock.pass(200);
    await kept[1];
    expect(handed.flatMap(({ records }) => records.map(({ path }) => path))).toEqual(["/lost", "/waits", "/after"]);
  });
});
