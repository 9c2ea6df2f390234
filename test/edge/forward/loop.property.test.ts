// The loop (src/edge/forward/loop.ts) over nodes that come, go, refuse, break, fall silent and answer in any order, with clients'
// bodies that are large, slow or broken off. What is counted here is counted by the script, not by the loop.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { GRACE_MS } from "../../../src/edge/forward/loop.ts";
import { UNSENT_MAX } from "../../../src/shared/http/repeat.ts";
import { type Attempted, type NodeScript, type Passage, type RequestScript, type Script, World } from "./world.ts";

const script: fc.Arbitrary<Script> = fc.record({
  does: fc.constantFrom(
    "answer",
    "answer",
    "answer",
    "refuse",
    "refuse",
    "break",
    "leave",
    "leave",
    "leave-unsent",
    "silent",
  ),
  after: fc.integer({ min: 0, max: 3_000 }),
  window: fc.constantFrom(1, 100, 1_000),
});
const node: fc.Arbitrary<NodeScript> = fc.record({
  up: fc.boolean(),
  changes: fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 4 }),
});
const body = fc.record({
  chunks: fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 300 }), after: fc.constantFrom(0, 10, 2_000) }), {
    maxLength: 4,
  }),
  whole: fc.boolean(),
  breaks: fc.boolean(),
});
const request: fc.Arbitrary<RequestScript> = fc
  .record({
    method: fc.constantFrom("GET", "PUT", "POST"),
    keyed: fc.boolean(),
    again: fc.boolean(),
    sightings: fc.integer({ min: 1, max: 3 }),
    at: fc.integer({ min: 0, max: 10_000 }),
    body: fc.option(body, { nil: undefined }),
    tries: fc.array(script, { minLength: 1, maxLength: 7 }),
  })
  .map(({ keyed, ...rest }) => ({
    ...rest,
    idempotent: rest.method !== "POST" || keyed,
    body: rest.method === "GET" ? undefined : rest.body,
  }));

const mayHaveSeen = ({ outcome }: Attempted): boolean =>
  outcome === undefined || outcome.ok || outcome.sent === "maybe";

function judge(passage: Passage, world: World, hedging: boolean): void {
  const { script, attempts, results, body: sent, waits, allBytes } = passage;
  const seen = attempts.filter(mayHaveSeen).length;
  const nodes = attempts.map(({ node }) => node);

  // Answered once; unless a node hangs for ever that nobody may leave.
  const hangs = attempts.some(({ ended }) => !ended);
  expect(results.length, "answers").toBe(hangs && results.length === 0 ? 0 : 1);
  expect(passage.twice, `no node twice within one pass: ${nodes.join()}`).toBe(0);
  expect(passage.timers, "timers of the loop").toBe(0);
  expect(attempts.length, "tries").toBeLessThanOrEqual(UNSENT_MAX);

  // Each retry is paid for, and nothing is paid for that was not done.
  expect(passage.paid, "paid").toBe(Math.max(0, attempts.length - 1));

  // The cap, and what may not be sent again once it may have been seen.
  const mayRepeat = script.idempotent && !script.again;
  expect(seen, "sightings").toBeLessThanOrEqual(mayRepeat ? script.sightings : 1);
  if (!mayRepeat)
    for (const [i, each] of attempts.entries())
      expect(i === attempts.length - 1 || !mayHaveSeen(each), "sent again").toBe(true);

  // A body: from its beginning, to its end or without one.
  for (const { bytes, outcome } of attempts) {
    expect(bytes, "a part that is no beginning").toEqual(allBytes.slice(0, bytes.length));
    if (outcome?.ok === true) expect(bytes.length, "an answer to a part of a body").toBe(allBytes.length);
  }

  // Grace: five seconds from when it first found no node, however often nodes come and go.
  for (const { until } of waits) expect(until, "grace").toBe((waits[0]?.at ?? 0) + GRACE_MS);

  // Two at a time at most, and only where one is asked beside a silent one.
  for (const { beside } of attempts)
    expect(beside, "at once").toBeLessThanOrEqual(hedging && script.method === "GET" && !script.again ? 1 : 0);

  const [result] = results;
  for (const { outcome, discarded } of attempts)
    if (outcome?.ok === true) expect(discarded, "an answer that nobody has").toBe(outcome !== result);
  if (result === undefined || result === "gone" || result.ok) return;

  // No answer: how many nodes may have seen it is said, and there was a reason to stop.
  expect(result.sightings, "sightings told").toBe(seen);
  expect(result.last, "the last failure").toBe(attempts.findLast(({ outcome }) => outcome === result.last)?.outcome);
  const { last } = result;
  const stopped =
    last?.final === true ||
    sent.broken ||
    !sent.replayable ||
    attempts.length === UNSENT_MAX ||
    (last?.sent === "maybe" && (!mayRepeat || seen >= script.sightings));
  const goesOn = world.upAt(passage.endedAt).some((each) => !passage.pass.has(each));
  if (stopped || passage.refusedToPay) return;
  expect(goesOn, "a node was left").toBe(false);
  const [first] = waits;
  const mayComeBack = (last === undefined || last.lost === true) && world.leftLately(first?.at ?? passage.endedAt);
  if (mayComeBack) expect(passage.endedAt, "patience").toBeGreaterThanOrEqual((first?.at ?? Number.NaN) + GRACE_MS);
}

test.each([false, true])("whatever fails when; hedging: %s", async (hedging) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(node, { minLength: 1, maxLength: 5 }),
      fc.array(request, { minLength: 1, maxLength: 4 }),
      fc.record({ memory: fc.constantFrom(0, 500, 2_000, 1_000_000), budget: fc.constantFrom(0, 2, 99) }),
      async (nodes, requests, { memory, budget }) => {
        const world = new World(nodes, { memory, budget, hedging });
        for (const each of requests) world.ask(each);
        await world.clock.pass(60_000);
        expect(world.passages.length).toBe(requests.length);
        for (const passage of world.passages) judge(passage, world, hedging);
        // What is still under way is a silent node's: when it goes, all ends.
        world.allDown();
        await world.clock.pass(60_000);
        for (const { results, attempts } of world.passages) {
          expect(results.length).toBe(1);
          expect(attempts.every(({ ended }) => ended)).toBe(true);
        }
        expect(world.memory.held, "leases").toBe(0);
        expect(world.clock.waiting, "timers").toBe(0);
      },
    ),
    { numRuns: 1_000 },
  );
});
