// When an endpoint is passed over, and for how long.
import { describe, expect, it } from "vitest";
import { Affinity, AFFINITY_CLIENTS_MAX } from "../../../agent/endpoints/affinity.ts";
import { ENDPOINT_RULES, failed, isBroken, isEjected, noFailures } from "../../../agent/endpoints/ejection.ts";

describe("ejection", () => {
  it("comes with the third failure in a row, and doubles with each that follows it, up to a minute", () => {
    let failures = noFailures;
    let now = 1_000;
    const lengths: number[] = [];
    for (let n = 0; n < 10; n++) {
      failures = failed(failures, "refused", now);
      lengths.push(Math.max(0, failures.until - now));
      now = Math.max(now, failures.until) + 1;
    }
    expect(lengths).toEqual([0, 0, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(ENDPOINT_RULES).toEqual({ failures: 3, firstMs: 2_000, maxMs: 60_000 });
  });

  it("is not lengthened by what was sent there for want of anything better", () => {
    const ejected = { failures: 3, ejections: 1, until: 5_000, why: "refused" };
    expect(failed(ejected, "timeout", 4_999)).toEqual({ ...ejected, why: "timeout" });
    expect(failed(ejected, "timeout", 5_000)).toEqual({
      failures: 4,
      ejections: 2,
      until: 9_000,
      why: "timeout",
    });
  });

  it("ends with time; what is broken stays so until a success", () => {
    const ejected = { failures: 3, ejections: 1, until: 5_000, why: "refused" };
    expect([isEjected(ejected, 4_999), isEjected(ejected, 5_000)]).toEqual([true, false]);
    expect([isBroken(ejected), isBroken({ ...noFailures, failures: 2 }), isBroken(noFailures)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("affinity", () => {
  it("counts its timeout from the latest use", () => {
    const affinity = new Affinity(10);
    affinity.set("c", "e", 0);
    expect(affinity.get("c", 9_999)).toBe("e");
    affinity.set("c", "e", 9_999);
    expect(affinity.get("c", 19_998)).toBe("e");
    expect(affinity.get("c", 19_999)).toBeUndefined();
  });

  it("is bounded: the client that was quiet longest goes first", () => {
    const affinity = new Affinity(10);
    for (let n = 0; n < AFFINITY_CLIENTS_MAX; n++) affinity.set(`c${n}`, "e", 0);
    affinity.set("c0", "e", 1);
    affinity.set("new", "e", 2);
    expect([affinity.get("c0", 3), affinity.get("c1", 3), affinity.get("new", 3)]).toEqual(["e", undefined, "e"]);
  });
});
