// The loop, case by case: scripted nodes and a set clock. What holds whatever happens is in loop.property.test.ts.
import { describe, expect, test } from "vitest";
import { forward, GRACE_MS, HEDGE_MS } from "../../../src/edge/forward/loop.ts";
import type { Failed, Hedging, Mover, Outgoing, Transport } from "../../../src/edge/forward/transport.ts";
import { Waiting } from "../../../src/edge/forward/waiting.ts";
import { Clock } from "./clock.ts";

/** What a node does with a request: after so many ms, or never. */
interface Script {
  readonly after: number | undefined;
  readonly does: "answer" | Failed | Error;
  /** It answers others all the time. */
  readonly busy?: boolean;
}

interface Options {
  readonly method?: string;
  readonly sightings?: number;
  readonly idempotent?: boolean;
  readonly again?: boolean;
  readonly hedging?: boolean;
  readonly budget?: number;
}

interface By {
  readonly ok: true;
  readonly node: number;
}

const broke: Failed = { ok: false, sent: "maybe", reason: "endpoint-broke", detail: "scripted" };
const refused: Failed = { ok: false, sent: "never", reason: "no-endpoints", detail: "scripted" };
const ok = (after: number | undefined, busy = false): Script => ({ after, does: "answer", busy });
const fails = (after = 10, failed: Failed | Error = broke): Script => ({ after, does: failed });
const dead = ok(undefined);

class Stage {
  readonly clock = new Clock();
  readonly effects = { now: this.clock.now, random: () => 0, later: this.clock.later };
  readonly waiting = new Waiting(this.effects);
  /** Nodes that are not there. */
  readonly gone = new Set<number>();
  readonly sent: { readonly node: number; readonly at: number }[] = [];
  readonly movers: Mover[] = [];
  readonly discarded: number[] = [];
  readonly blamed: number[] = [];
  readonly silent: number[] = [];
  forgotten = 0;
  budget: number;
  reconnecting = true;
  /** What came of it: the node that answered, or why none did. */
  result: number | string | undefined;
  sightings: number | undefined;

  constructor(scripts: readonly Script[], options: Options = {}) {
    const { method = "GET", sightings = 3, idempotent = true, again = false, hedging = false, budget = 99 } = options;
    this.budget = budget;
    const start = this.clock.time;
    const hedge: Hedging<number, Outgoing> = {
      possible: () => true,
      heardSince: (node) => scripts[node]?.busy ?? false,
      silent: (node) => void this.silent.push(node),
    };
    const transport: Transport<number, Outgoing, By> = {
      retries: { request: () => {}, retry: () => this.budget-- > 0 },
      order: () => [...scripts.keys()].filter((node) => !this.gone.has(node)),
      hasOther: (_request, tried) => [...scripts.keys()].some((node) => !this.gone.has(node) && !tried.includes(node)),
      attempt: (node, _request, _now, mover) => {
        this.sent.push({ node, at: this.clock.time - start });
        this.movers.push(mover);
        const { after, does } = scripts[node] as Script;
        return new Promise((resolve, reject) => {
          if (after === undefined) return;
          this.clock.later(after, () => {
            if (does === "answer") resolve({ ok: true, node });
            else if (does instanceof Error) reject(does);
            else {
              if (does.lost === true) this.gone.add(node);
              resolve(does);
            }
          });
        });
      },
      discard: ({ node }) => void this.discarded.push(node),
      succeeded: () => {},
      failed: (node) => void this.blamed.push(node),
      reconnecting: () => this.reconnecting,
      changed: (deadline) => this.waiting.wait(deadline),
      ...(hedging && { hedging: hedge }),
    };
    const body = { replayable: true, broken: false, forget: () => void this.forgotten++ };
    void this.#forward(transport, { method, sightings, idempotent, again, body });
  }

  async #forward(transport: Transport<number, Outgoing, By>, request: Outgoing): Promise<void> {
    try {
      const outcome = await forward(transport, request, this.effects);
      this.result = outcome.ok ? outcome.node : (outcome.last?.reason ?? "no node");
      if (!outcome.ok) this.sightings = outcome.sightings;
    } catch (error) {
      this.result = String(error);
    }
  }

  get asked(): number[] {
    return this.sent.map(({ node }) => node);
  }
}

async function after(scripts: readonly Script[], options?: Options, ms = 100_000): Promise<Stage> {
  const stage = new Stage(scripts, options);
  await stage.clock.pass(ms);
  return stage;
}

describe("a request", () => {
  test("with two of three nodes down finds the third", async () => {
    const { result, asked, blamed } = await after([fails(), fails(), ok(5)]);
    expect([result, asked, blamed]).toEqual([2, [0, 1, 2], [0, 1]]);
  });

  test("is seen by three nodes at most, and says by how many", async () => {
    const { result, asked, sightings } = await after([fails(), fails(), fails(), ok(1)]);
    expect([result, asked, sightings]).toEqual(["endpoint-broke", [0, 1, 2], 3]);
  });

  test("that no backend saw goes on, whatever its method, and nobody is blamed", async () => {
    const { result, asked, blamed } = await after([fails(1, refused), fails(1, refused), ok(1)], { idempotent: false });
    expect([result, asked, blamed]).toEqual([2, [0, 1, 2], []]);
  });

  test.each([{ idempotent: false }, { again: true }])(
    "%j is sent once where it may have been seen",
    async (options) => {
      const { result, asked } = await after([fails(), ok(1)], options);
      expect([result, asked]).toEqual(["endpoint-broke", [0]]);
    },
  );

  test("is not repeated without budget", async () => {
    const { result, asked } = await after([fails(), ok(1)], { budget: 0 });
    expect([result, asked]).toEqual(["endpoint-broke", [0]]);
  });

  test("does not spend the budget where no other node is there", async () => {
    const { result, budget } = await after([fails()], { budget: 5 });
    expect([result, budget]).toEqual(["endpoint-broke", 5]);
  });

  test("gives its body back where our own code fails", async () => {
    const { result, forgotten } = await after([fails(1, new Error("a fault"))]);
    expect([result, forgotten]).toEqual(["Error: a fault", 1]);
  });
});

describe("a try that waits for a silent node", () => {
  test("may move where another node is there, once for one retry", async () => {
    const stage = await after([dead, ok(1)], { budget: 1 });
    expect([stage.movers[0]?.mayMove(), stage.budget]).toEqual([true, 0]);
    expect([stage.movers[0]?.mayMove(), stage.budget]).toEqual([true, 0]);
  });

  test.each<[string, readonly Script[], Options]>([
    ["no other node is there", [dead], {}],
    ["it may not be repeated", [dead, ok(1)], { idempotent: false }],
    ["it is a repeat", [dead, ok(1)], { again: true }],
    ["one node may see it", [dead, ok(1)], { sightings: 1 }],
  ])("stays where %s, and spends nothing", async (_why, scripts, options) => {
    const stage = await after(scripts, options);
    expect([stage.movers[0]?.mayMove(), stage.budget]).toEqual([false, 99]);
  });

  test("stays where no budget is left", async () => {
    expect((await after([dead, ok(1)], { budget: 0 })).movers[0]?.mayMove()).toBe(false);
  });
});

describe("grace", () => {
  const lost: Failed = { ...broke, lost: true };

  test("a node that comes has the request", async () => {
    const stage = new Stage([fails(1, lost)]);
    await stage.clock.pass(GRACE_MS - 1);
    expect([stage.asked, stage.result]).toEqual([[0], undefined]);
    stage.gone.clear();
    stage.waiting.wake();
    await stage.clock.pass(1);
    expect(stage.asked).toEqual([0, 0]);
  });

  test("ends after five seconds, however often others are woken", async () => {
    const stage = new Stage([fails(0, lost)]);
    for (let ms = 0; ms < GRACE_MS; ms += 500) {
      await stage.clock.pass(ms === 0 ? 499 : 500);
      expect(stage.result).toBeUndefined();
      stage.waiting.wake();
    }
    await stage.clock.pass(1);
    expect([stage.result, stage.asked, stage.clock.waiting]).toEqual(["endpoint-broke", [0], 0]);
  });

  test("nobody waits for a node that said no, nor where none went away lately", async () => {
    expect((await after([fails(0, refused)], {}, 0)).result).toBe("no-endpoints");
    const stage = new Stage([fails(0, lost)]);
    stage.reconnecting = false;
    await stage.clock.pass(0);
    expect(stage.result).toBe("endpoint-broke");
  });

  test("where no node was there at all, nothing was sent", async () => {
    const stage = new Stage([]);
    await stage.clock.pass(GRACE_MS);
    expect([stage.result, stage.sightings]).toEqual(["no node", 0]);
  });
});

describe("a silent node, where tries are hedged,", () => {
  const hedging = true;

  test("has one other asked beside it, and is told to have been silent", async () => {
    const { result, sent, silent } = await after([dead, ok(5), ok(5)], { hedging });
    expect([result, silent]).toEqual([1, [0]]);
    expect(sent).toEqual([
      { node: 0, at: 0 },
      { node: 1, at: HEDGE_MS },
    ]);
  });

  test.each(["PUT", "DELETE", "OPTIONS"])("has no %s sent to another", async (method) => {
    expect((await after([dead, ok(5)], { hedging, method })).asked).toEqual([0]);
  });

  test("has no repeat of the listener proxy sent to another", async () => {
    expect((await after([dead, ok(5)], { hedging, again: true })).asked).toEqual([0]);
  });

  test("a long poll of a quiet isolate goes to two nodes and not to all, and nobody was silent", async () => {
    const { result, asked, silent } = await after([ok(30_000), ok(30_000), ok(30_000), ok(30_000)], { hedging });
    expect([result, asked, silent]).toEqual([0, [0, 1], []]);
  });

  test("that answers others meanwhile is merely slow: nobody else is asked", async () => {
    const { result, asked } = await after([ok(30_000, true), ok(5)], { hedging });
    expect([result, asked]).toEqual([0, [0]]);
  });

  test("does not hide a node that broke: the third is asked while the first is silent still", async () => {
    const { result, asked, silent } = await after([dead, fails(), ok(5)], { hedging });
    expect([result, asked, silent]).toEqual([2, [0, 1, 2], [0]]);
  });

  test("after one that broke is hedged too, as long as sightings are left", async () => {
    const { result, asked, silent } = await after([fails(), dead, ok(5)], { hedging });
    expect([result, asked, silent]).toEqual([2, [0, 1, 2], [1]]);
    expect((await after([fails(), fails(), dead, ok(5)], { hedging })).asked).toEqual([0, 1, 2]);
  });

  test("is waited for where no budget is left", async () => {
    const { result, asked } = await after([ok(5_000), ok(5)], { hedging, budget: 0 });
    expect([result, asked]).toEqual([0, [0]]);
  });

  test("that answers after all: its answer is let go of", async () => {
    const { result, discarded } = await after([ok(3_000), ok(100)], { hedging });
    expect([result, discarded]).toEqual([1, [0]]);
  });

  test("that answers after the other one has failed: its answer is the client's", async () => {
    const { result, discarded } = await after([ok(HEDGE_MS + 15), fails(10)], { hedging });
    expect([result, discarded]).toEqual([0, []]);
  });

  test("is not blamed for it", async () => {
    expect((await after([ok(3_000), ok(100)], { hedging })).blamed).toEqual([]);
  });
});
