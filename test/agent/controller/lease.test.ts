// Who may take the Lease, and when.
import { describe, expect, it } from "vitest";
import { decideLease } from "../../../agent/controller/lease.ts";

describe("decideLease", () => {
  const held = { version: "7", holder: "other", transitions: 4, durationMs: 15_000 };
  it.each([
    ["there is none", undefined, 0, { do: "create" }],
    ["another one's, just seen", held, 0, { do: "wait" }],
    ["another one's, almost expired", held, 14_999, { do: "wait" }],
    ["another one's, unchanged for its duration", held, 15_000, { do: "take", transitions: 5 }],
    ["released", { ...held, holder: "" }, 0, { do: "take", transitions: 5 }],
    [
      "our own from before a restart: a newer epoch all the same",
      { ...held, holder: "me" },
      0,
      { do: "take", transitions: 5 },
    ],
    ["its duration is what its holder wrote, not ours", { ...held, durationMs: 60_000 }, 59_999, { do: "wait" }],
  ])("%s", (_what, lease, unchangedMs, step) => {
    expect(decideLease(lease, unchangedMs, "me")).toEqual(step);
  });
});
