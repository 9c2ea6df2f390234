// The tries of one request by transport direct: node after node, and once one beside another where the first is silent. A
// fetch tells nothing while it waits, and a fetch that failed may have been seen: so what is sent again is what
// src/shared/http/repeat.ts allows, and each node gets it once at most. Decides and waits; fetch, clock and timers are the caller's.
import type { Failed } from "../forward/transport.ts";

export interface Tries<N> {
  /** Best first. */
  readonly nodes: Iterator<N>;
  /** Never rejects. */
  readonly send: (node: N) => Promise<Response | Failed>;
  /** How many nodes may see it, all in all; at least 1. */
  readonly sightings: number;
  /** Idempotent, and its body can be sent from the beginning again. */
  readonly repeatable: boolean;
  /** Another node may be asked beside the first after so long without an answer, ms; undefined: never. */
  readonly hedgeMs: number | undefined;
  /** Whether a node has answered anybody after `since`: it is alive, and the request merely slow. */
  readonly answeredSince: (node: N, since: number) => boolean;
  /** Takes one retry; false: none is left. */
  readonly budget: () => boolean;
  /** Epoch ms. */
  readonly now: () => number;
  /** Calls once after `ms`; what it returns stops that. */
  readonly later: (ms: number, call: () => void) => () => void;
}

export interface Tried<N> {
  /** undefined: there was no node. */
  readonly outcome: Response | Failed | undefined;
  /** Nodes that may have seen it. */
  readonly sightings: number;
  /** Was silent while another one, asked later, answered. */
  readonly silent?: N;
}

/** The first answer, or the last failure. An answer that comes after it is let go of. */
export async function firstAnswer<N>(tries: Tries<N>): Promise<Tried<N>> {
  const { nodes, send, repeatable, answeredSince, budget, now } = tries;
  const first = nodes.next();
  if (first.done === true) return { outcome: undefined, sightings: 0 };
  const pending = new Set<Promise<Response | Failed>>();
  let sightings = 0;
  let over = false;
  const start = (node: N): Start<N> => {
    sightings++;
    const at = now();
    const outcome = send(node).then((result) => {
      pending.delete(outcome);
      if (over && result instanceof Response) void result.body?.cancel().catch(() => {});
      return result;
    });
    pending.add(outcome);
    return { node, at, outcome };
  };
  /** Sends it to one more node, if that is allowed and there is one. */
  const another = (): Start<N> | undefined => {
    if (sightings >= tries.sightings) return undefined;
    const next = nodes.next();
    return next.done === true || !budget() ? undefined : start(next.value);
  };
  let latest = start(first.value);
  let hedgeMs = tries.hedgeMs;
  let silent: Start<N> | undefined;
  for (;;) {
    const outcome = await (hedgeMs === undefined ? Promise.race(pending) : within(hedgeMs, pending, tries.later));
    if (outcome === "silent") {
      // Where it has answered others since the last look it is alive, and this request merely slow: no second copy of it.
      if (answeredSince(latest.node, now() - (hedgeMs ?? 0))) continue;
      hedgeMs = undefined;
      if (another() !== undefined) silent = latest;
      continue;
    }
    if (outcome instanceof Response) {
      over = true;
      const stillSilent = silent !== undefined && pending.has(silent.outcome) && !answeredSince(silent.node, silent.at);
      return { outcome, sightings, ...(stillSilent ? { silent: silent?.node as N } : {}) };
    }
    const next = repeatable ? another() : undefined;
    if (next !== undefined) latest = next;
    else if (pending.size === 0) return { outcome, sightings };
  }
}

/** One node asked. */
interface Start<N> {
  readonly node: N;
  /** Epoch ms. */
  readonly at: number;
  readonly outcome: Promise<Response | Failed>;
}

/** The first outcome, or "silent" where none comes in time. */
async function within<T>(
  ms: number,
  pending: Iterable<Promise<T>>,
  later: (ms: number, call: () => void) => () => void,
): Promise<T | "silent"> {
  let stop: (() => void) | undefined;
  const silence = new Promise<"silent">((resolve) => {
    stop = later(ms, () => resolve("silent"));
  });
  try {
    return await Promise.race([...pending, silence]);
  } finally {
    stop?.();
  }
}
