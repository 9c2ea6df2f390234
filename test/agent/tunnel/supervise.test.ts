// When to redial: quick at first, then ever more slowly, never in step with others, and never against a refusal.
import { describe, expect, it } from "vitest";
import { type Ended, redial } from "../../../agent/tunnel/supervise.ts";

const broke: Ended = { code: 1006, connectedMs: 0 };

describe("redial", () => {
  it.each([
    [0, 500],
    [1, 500],
    [2, 500],
    [3, 1_000],
    [4, 2_000],
    [8, 30_000],
    [1_000, 30_000],
  ])("after %d failures: within %d ms, spread over all of it", (failures, range) => {
    expect(redial(broke, failures, () => 0)).toEqual({ action: "wait", ms: 0, failures: failures + 1 });
    expect(redial(broke, failures, () => 0.999)).toMatchObject({ ms: Math.floor(range * 0.999) });
  });

  it("begins anew after a connection that lasted", () => {
    expect(redial({ code: 1006, connectedMs: 10_000 }, 9, () => 0.5)).toEqual({ action: "wait", ms: 250, failures: 1 });
    expect(redial({ code: 1006, connectedMs: 9_999 }, 2, () => 0.5)).toMatchObject({ failures: 3 });
  });

  it("within 2 s after a connection of a second or more, whatever came before: requests wait that long", () => {
    const short: Ended = { code: 1006, connectedMs: 1_000 };
    expect(redial(short, 9, () => 0.5)).toEqual({ action: "wait", ms: 1_000, failures: 5 });
    expect(redial(short, 1, () => 0.5)).toEqual({ action: "wait", ms: 250, failures: 2 });
    expect(redial({ ...short, connectedMs: 999 }, 9, () => 0.5)).toMatchObject({ ms: 15_000, failures: 10 });
  });

  it.each<[string, Ended]>([
    ["an unknown token", { status: 401, connectedMs: 0 }],
    ["a token without this right", { status: 403, connectedMs: 0 }],
    ["a token that was revoked", { code: 4001, connectedMs: 60_000 }],
    ["a permanent GOAWAY", { code: 1000, permanent: true, connectedMs: 5 }],
  ])("not after %s", (_, ended) => {
    expect(redial(ended, 0, () => 0.5)).toEqual({ action: "refused" });
  });

  it.each([404, 429, 500, 503])("after HTTP %d it dials on", (status) => {
    expect(redial({ status, connectedMs: 0 }, 0, () => 0.5)).toMatchObject({ action: "wait" });
  });
});
