import { describe, expect, test } from "vitest";
import { type FailedAttempt, isIdempotent, mayRetry } from "../../../src/edge/forward/retry.ts";
import { EDGE_SIGHTINGS, UNSENT_MAX } from "../../../src/shared/http/repeat.ts";

describe("mayRetry", () => {
  const lost: FailedAttempt = {
    sent: "maybe",
    again: false,
    idempotent: true,
    replayable: true,
    attempts: 1,
    sightings: 1,
    sightingsMax: EDGE_SIGHTINGS,
  };
  const unsent: FailedAttempt = { ...lost, sent: "never", sightings: 0 };

  test.each<[string, FailedAttempt, boolean]>([
    ["its node was lost", lost, true],
    ["nobody saw it", unsent, true],
    ["nobody saw it: any method", { ...unsent, idempotent: false }, true],
    ["its node was lost, and it is not idempotent", { ...lost, idempotent: false }, false],
    // The bytes are gone, whoever saw them.
    ["nobody saw it, and its body is gone", { ...unsent, replayable: false }, false],
    ["its node was lost, and its body is gone", { ...lost, replayable: false }, false],
    ["nobody saw it, one try is left", { ...unsent, attempts: UNSENT_MAX - 1 }, true],
    ["nobody saw it, and none is left", { ...unsent, attempts: UNSENT_MAX }, false],
    ["the node says that it broke, or timed out", { ...lost, final: true }, false],
    ["no client could have sent it", { ...unsent, final: true }, false],
    ["it is the listener proxy's repeat", { ...lost, again: true }, false],
    ["it is that, and nobody saw it", { ...unsent, again: true }, true],
    ["two nodes were lost", { ...lost, attempts: 2, sightings: 2 }, false],
    ["two nodes were lost, and others had never seen it", { ...lost, attempts: 4, sightings: 2 }, false],
    ["two nodes were lost, and three may see it", { ...lost, attempts: 2, sightings: 2, sightingsMax: 3 }, true],
    ["one node was lost, and others had never seen it", { ...lost, attempts: 4 }, true],
    ["nobody saw the last try, and as many as may have seen those before", { ...unsent, sightings: 2 }, true],
    ["it cannot be repeated for two reasons", { ...lost, again: true, idempotent: false }, false],
  ])("%s: %j: %s", (_name, failed, retry) => {
    expect(mayRetry(failed)).toBe(retry);
  });
});

test.each([
  ["GET", undefined, true],
  ["HEAD", undefined, true],
  ["OPTIONS", undefined, true],
  ["TRACE", undefined, true],
  ["PUT", undefined, true],
  ["DELETE", undefined, true],
  ["POST", undefined, false],
  ["PATCH", undefined, false],
  ["PROPFIND", undefined, false],
  // Methods are case-sensitive.
  ["get", undefined, false],
  ["POST", "8e03978e", true],
  ["PATCH", "8e03978e", true],
])("%s with Idempotency-Key %s is idempotent: %s", (method, key, idempotent) => {
  const headers = new Headers(key === undefined ? {} : { "idempotency-key": key });
  expect(isIdempotent(method, headers)).toBe(idempotent);
});
