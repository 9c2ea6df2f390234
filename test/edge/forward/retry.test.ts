import { describe, expect, test } from "vitest";
import { decideRetry, type FailedAttempt, isIdempotent, type RetryDecision } from "../../../src/edge/forward/retry.ts";
import { UNSENT_MAX } from "../../../src/shared/http/repeat.ts";

const no = (why: Exclude<RetryDecision, { retry: true }>["why"]): RetryDecision => ({ retry: false, why });
const yes: RetryDecision = { retry: true };

describe("decideRetry", () => {
  test.each<{
    sent: "never" | "maybe";
    idempotent: boolean;
    replayable: boolean;
    attempts: number;
    budget: boolean;
    decision: RetryDecision;
  }>([
    { sent: "never", idempotent: true, replayable: true, attempts: 1, budget: true, decision: yes },
    // Nobody saw it: any method.
    { sent: "never", idempotent: false, replayable: true, attempts: 1, budget: true, decision: yes },
    { sent: "maybe", idempotent: true, replayable: true, attempts: 1, budget: true, decision: yes },
    {
      sent: "maybe",
      idempotent: false,
      replayable: true,
      attempts: 1,
      budget: true,
      decision: no("may-have-been-done"),
    },
    // The bytes are gone, whoever saw them.
    { sent: "never", idempotent: false, replayable: false, attempts: 1, budget: true, decision: no("body-gone") },
    { sent: "maybe", idempotent: true, replayable: false, attempts: 1, budget: true, decision: no("body-gone") },
    { sent: "never", idempotent: true, replayable: true, attempts: UNSENT_MAX - 1, budget: true, decision: yes },
    {
      sent: "never",
      idempotent: true,
      replayable: true,
      attempts: UNSENT_MAX,
      budget: true,
      decision: no("too-many-attempts"),
    },
    { sent: "never", idempotent: true, replayable: true, attempts: 1, budget: false, decision: no("budget") },
    { sent: "maybe", idempotent: true, replayable: true, attempts: 1, budget: false, decision: no("budget") },
  ])(
    "$sent sent, idempotent $idempotent, replayable $replayable, $attempts attempts, budget $budget",
    ({ budget, decision, ...facts }) => {
      expect(decideRetry({ ...facts, budget: () => budget })).toEqual(decision);
    },
  );

  const lost = { sent: "maybe", idempotent: true, replayable: true, attempts: 1, budget: () => true } as const;
  test.each<[string, Partial<FailedAttempt>, RetryDecision]>([
    ["its node was lost", {}, yes],
    ["the node says that it broke, or timed out", { final: true }, no("final")],
    ["no client could have sent it", { sent: "never", final: true }, no("final")],
    ["it is the listener proxy's repeat", { again: true }, no("a-repeat")],
    ["it is that, and nobody saw it", { again: true, sent: "never" }, yes],
    ["two nodes were lost", { attempts: 2 }, no("too-many-attempts")],
    ["two nodes were lost, and others had never seen it", { attempts: 4, sightings: 2 }, no("too-many-attempts")],
    ["one node was lost, and others had never seen it", { attempts: 4, sightings: 1 }, yes],
    ["it cannot be repeated for two reasons", { again: true, idempotent: false }, no("a-repeat")],
  ])("%s", (_name, more, decision) => {
    expect(decideRetry({ ...lost, ...more })).toEqual(decision);
  });

  test("takes out of the budget only what is retried", () => {
    let taken = 0;
    const budget = () => ++taken > 0;
    const facts = { sent: "maybe", idempotent: true, replayable: true, attempts: 1, budget } as const;
    decideRetry({ ...facts, idempotent: false });
    decideRetry({ ...facts, replayable: false });
    decideRetry({ ...facts, attempts: UNSENT_MAX });
    expect(taken).toBe(0);
    decideRetry(facts);
    expect(taken).toBe(1);
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
