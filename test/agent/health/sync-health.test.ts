// Whether the rules keep up, for histories by example and for any history against a plain model. The clock is the test's.
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { SyncHealth } from "../../../agent/health/sync-health.ts";

let now: number;
let sync: SyncHealth;
beforeEach(() => {
  now = 1_000_000;
  sync = new SyncHealth({ limitMs: 60_000, now: () => now });
});

describe("sync health", () => {
  it("is well while nothing waits, for however long", () => {
    expect(sync.healthy).toBe(true);
    sync.queued();
    sync.began();
    sync.ended(true);
    now += 86_400_000;
    expect(sync.healthy).toBe(true);
    expect([sync.hasSynced, sync.lastUpdated]).toEqual([true, 1_000_000]);
  });

  it("is not once the oldest change has waited longer than the limit, whatever comes after it", () => {
    sync.queued();
    now += 30_000;
    sync.queued();
    now += 30_000;
    expect(sync.healthy).toBe(true);
    now += 1;
    expect(sync.healthy).toBe(false);
    sync.began();
    expect(sync.healthy).toBe(false);
    sync.ended(true);
    expect(sync.healthy).toBe(true);
  });

  it("counts a change that came during a sync from when it came", () => {
    sync.queued();
    sync.began();
    now += 50_000;
    sync.queued();
    now += 1_000;
    sync.ended(true);
    now += 59_000;
    expect(sync.healthy).toBe(true);
    now += 1;
    expect(sync.healthy).toBe(false);
  });

  it("counts what failed from when it first came", () => {
    sync.queued();
    for (let attempt = 0; attempt < 3; attempt++) {
      sync.began();
      sync.ended(false);
      now += 20_001;
    }
    expect([sync.healthy, sync.hasSynced]).toEqual([false, false]);
  });

  it("is as the age of the oldest change that no sync has, for any history", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 50_000 }) }),
      fc.constantFrom(
        { do: "queue" as const },
        { do: "sync" as const, done: true },
        { do: "sync" as const, done: false },
      ),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        now = 1_000_000;
        sync = new SyncHealth({ limitMs: 60_000, now: () => now });
        // The model keeps every change.
        let waiting: number[] = [];
        let underWay: number[] | undefined;
        for (const each of steps) {
          if (each.do === "pass") now += each.ms;
          else if (each.do === "queue") {
            sync.queued();
            waiting.push(now);
          } else if (underWay === undefined) {
            sync.began();
            [underWay, waiting] = [waiting, []];
          } else {
            sync.ended(each.done);
            if (!each.done) waiting = [...underWay, ...waiting];
            underWay = undefined;
          }
          const oldest = Math.min(...waiting, ...(underWay ?? []));
          expect(sync.healthy).toBe(!(now - oldest > 60_000));
        }
      }),
    );
  });
});
