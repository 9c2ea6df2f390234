import { expect, test } from "vitest";
import { combine, type HealthInputs } from "../../../src/shared/health/combine.ts";

test.each<[Omit<HealthInputs, "now">, string]>([
  [{}, "available"],
  [{ measured: undefined, ejectedUntil: undefined }, "available"],
  [{ ejectedUntil: 1_000 }, "available"],
  [{ ejectedUntil: 3_500 }, "Requests sent to it failed in a row; it is left out for another 3 s."],
  [{ measured: "not connected" }, "Its agent is not connected."],
  [{ measured: "draining" }, "Its agent is shutting down and takes no new requests."],
  [{ measured: "silent" }, "Its agent is connected but has been silent while a request waited for it."],
  [
    { measured: { probe: "no answer in time on port 30080" } },
    "It does not answer probes: no answer in time on port 30080.",
  ],
  // The first input that objects gives the reason.
  [{ measured: "draining", ejectedUntil: 9_000 }, "Its agent is shutting down and takes no new requests."],
])("%j: %s", (inputs, expected) => {
  const verdict = combine({ ...inputs, now: 1_000 });
  expect(verdict.available ? "available" : verdict.reason).toBe(expected);
});
