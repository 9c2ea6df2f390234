// The loop of tries of transport direct, over scripted nodes and a set clock: what it promises whatever nodes do.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Failed } from "../../../src/edge/forward/transport.ts";
import { firstAnswer, type Tried } from "../../../src/edge/direct/tries.ts";
import { Clock } from "../forward/clock.ts";

/** What a node does with a request: after so many ms, or never. */
interface Script {
  readonly after: number | undefined;
  readonly answers: boolean;
  /** It answers others all the time. */
  readonly busy: boolean;
}

interface Options {
  readonly sightings?: number;
  readonly repeatable?: boolean;
  readonly hedgeMs?: number | undefined;
  readonly budget?: number;
}

interface Sent {
  readonly node: number;
  readonly at: number;
  /** Others that were under way and had not failed. */
  readonly beside: number;
}

function run(scripts: readonly Script[], { sightings = 3, repeatable = true, hedgeMs, budget = 99 }: Options) {
  const clock = new Clock();
  const start = clock.time;
  const sent: Sent[] = [];
  const bodies: { node: number; cancelled: boolean }[] = [];
  let pending = 0;
  let left = budget;
  let answers = 0;
  let tried: Tried<number> | undefined;
  void firstAnswer<number>({
    nodes: scripts.keys(),
    send: (node) => {
      sent.push({ node, at: clock.time - start, beside: pending });
      pending++;
      return new Promise<Response | Failed>((resolve) => {
        const { after, answers: good } = scripts[node] as Script;
        if (after === undefined) return;
        clock.later(after, () => {
          pending--;
          if (!good) return resolve({ ok: false, sent: "maybe", reason: "endpoint-broke", detail: `node ${node}` });
          const body = { node, cancelled: false };
          bodies.push(body);
          const cancel = () => void (body.cancelled = true);
          return resolve(new Response(new ReadableStream({ cancel }), { headers: { node: String(node) } }));
        });
      });
    },
    sightings,
    repeatable,
    hedgeMs,
    answeredSince: (node) => scripts[node]?.busy ?? false,
    budget: () => left-- > 0,
    now: clock.now,
    later: clock.later,
  }).then((result) => {
    answers++;
    tried = result;
    return result;
  });
  return { clock, sent, bodies, result: () => tried, answers: () => answers };
}

const ok = (after: number | undefined, busy = false): Script => ({ after, answers: true, busy });
const fails = (after = 10): Script => ({ after, answers: false, busy: false });
const dead = ok(undefined);

async function after(scripts: readonly Script[], options: Options, ms = 100_000) {
  const started = run(scripts, options);
  await started.clock.pass(ms);
  const result = started.result();
  const outcome = result?.outcome;
  const by = outcome instanceof Response ? Number(outcome.headers.get("node")) : outcome?.reason;
  return { ...started, by, asked: started.sent.map(({ node }) => node), silent: result?.silent };
}

describe("a request", () => {
  test("with two of three nodes down finds the third", async () => {
    const { by, asked } = await after([fails(), fails(), ok(5)], {});
    expect([by, asked]).toEqual([2, [0, 1, 2]]);
  });

  test("is seen by three nodes at most", async () => {
    const { by, asked } = await after([fails(), fails(), fails(), ok(1)], {});
    expect([by, asked]).toEqual(["endpoint-broke", [0, 1, 2]]);
  });

  test("that may not be repeated is sent once", async () => {
    const { by, asked } = await after([fails(), ok(1)], { repeatable: false });
    expect([by, asked]).toEqual(["endpoint-broke", [0]]);
  });

  test("is not repeated without budget", async () => {
    const { by, asked } = await after([fails(), ok(1)], { budget: 0 });
    expect([by, asked]).toEqual(["endpoint-broke", [0]]);
  });

  test("finds no node", async () => {
    const { result, by } = await after([], {});
    expect([by, result()?.sightings]).toEqual([undefined, 0]);
  });
});

describe("a silent node", () => {
  const hedgeMs = 1_000;

  test("has one other asked beside it, and is told to have been silent", async () => {
    const { by, sent, silent } = await after([dead, ok(5), ok(5)], { hedgeMs });
    expect([by, silent]).toEqual([1, 0]);
    expect(sent.map(({ node, at }) => [node, at])).toEqual([
      [0, 0],
      [1, 1_000],
    ]);
  });

  test("a long poll of a quiet isolate goes to two nodes and not to all, and nobody was silent", async () => {
    const { by, asked, silent } = await after([ok(30_000), ok(30_000), ok(30_000), ok(30_000)], { hedgeMs });
    expect([by, asked, silent]).toEqual([0, [0, 1], undefined]);
  });

  test("that answers others meanwhile is merely slow: nobody else is asked", async () => {
    const { by, asked } = await after([ok(30_000, true), ok(5)], { hedgeMs });
    expect([by, asked]).toEqual([0, [0]]);
  });

  test("does not hide a node that broke: the third is asked while the first is silent still", async () => {
    const { by, asked, silent } = await after([dead, fails(), ok(5)], { hedgeMs });
    expect([by, asked, silent]).toEqual([2, [0, 1, 2], 0]);
  });

  test("after one that broke is hedged too, as long as sightings are left", async () => {
    const { by, asked, silent } = await after([fails(), dead, ok(5)], { hedgeMs });
    expect([by, asked, silent]).toEqual([2, [0, 1, 2], 1]);
    expect((await after([fails(), fails(), dead, ok(5)], { hedgeMs })).asked).toEqual([0, 1, 2]);
  });

  test("is waited for where no budget is left", async () => {
    const { by, asked } = await after([ok(5_000), ok(5)], { hedgeMs, budget: 0 });
    expect([by, asked]).toEqual([0, [0]]);
  });

  test("that answers after all: its answer is let go of", async () => {
    const { by, bodies } = await after([ok(3_000), ok(100)], { hedgeMs });
    expect(by).toBe(1);
    expect(bodies).toEqual([
      { node: 1, cancelled: false },
      { node: 0, cancelled: true },
    ]);
  });
});

test("whatever nodes do: one answer, within the cap, no node twice, one hedge, nothing held", async () => {
  const script = fc.record({
    after: fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: undefined, freq: 4 }),
    answers: fc.boolean(),
    busy: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(script, { maxLength: 6 }),
      fc.record({
        sightings: fc.integer({ min: 1, max: 3 }),
        repeatable: fc.boolean(),
        hedge: fc.boolean(),
        budget: fc.integer({ min: 0, max: 3 }),
      }),
      async (scripts, { hedge, ...options }) => {
        const hedgeMs = hedge && options.repeatable ? 1_000 : undefined;
        const { clock, sent, bodies, result, answers } = run(scripts, { ...options, hedgeMs });
        await clock.pass(100_000);
        const asked = sent.map(({ node }) => node);
        expect(new Set(asked).size).toBe(asked.length);
        expect(asked.length).toBeLessThanOrEqual(
          Math.min(options.sightings, scripts.length, 1 + options.budget, options.repeatable ? 9 : 1),
        );
        // Two under way are the first and its hedge; the next is sent only because one of the two failed.
        for (const { beside } of sent) expect(beside).toBeLessThanOrEqual(hedgeMs === undefined ? 0 : 1);
        const neverEnds = asked.some((node) => scripts[node]?.after === undefined);
        const tried = result();
        if (tried === undefined) {
          expect(neverEnds).toBe(true);
          return;
        }
        expect(answers()).toBe(1);
        expect(tried.sightings).toBe(asked.length);
        if (tried.outcome instanceof Response) {
          const by = Number(tried.outcome.headers.get("node"));
          for (const body of bodies) expect(body.cancelled).toBe(body.node !== by);
        } else expect(asked.every((node) => scripts[node]?.answers === false)).toBe(true);
        // A timer that goes on would keep something alive.
        expect(clock.waiting).toBe(0);
      },
    ),
    { numRuns: 1_000 },
  );
});
