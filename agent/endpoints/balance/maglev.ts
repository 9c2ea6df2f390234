// `maglev`: consistent hashing by table look-up (Eisenbud et al., NSDI 2016, section 3.4). A pick costs the same however
// many endpoints there are; the table is built anew only when the set or a weight changes.
// Built from keys alone, in key order: every node has the same table.
import type { Balancer, Candidate, PickContext } from "../../../src/shared/balance/balancer.ts";
import { pairScore } from "../../../src/shared/balance/hash.ts";

/** Slots; a prime, so that every skip visits every slot. Shares are even within 1 % up to about 160 endpoints. */
export const TABLE_SIZE = 16_381;
/** Any constant: makes the skip independent of the offset. */
const SKIP_SEED = 0x5bd1e995;

export class Maglev implements Balancer {
  /** What the table was built from, in the caller's order. */
  #built: readonly { readonly key: string; readonly weight: number }[] = [];
  /** Slot → index into the caller's candidates. */
  #table = new Uint16Array(0);

  *order<C extends Candidate>(candidates: readonly C[], { client }: PickContext): Iterable<C> {
    this.#refresh(candidates);
    const table = this.#table;
    const slot = client % TABLE_SIZE;
    const first = candidates[table[slot] ?? -1];
    if (first !== undefined) yield first;

    // Retries walk on through the table, so that clients of a failed endpoint spread over all others.
    const seen = new Set<C | undefined>([first]);
    for (let step = 1; step < table.length && seen.size < candidates.length; step++) {
      const candidate = candidates[table[(slot + step) % TABLE_SIZE] ?? -1];
      if (candidate === undefined || seen.has(candidate)) continue;
      seen.add(candidate);
      yield candidate;
    }
    // The weightless have no slot, nor have the last of more candidates than slots.
    yield* candidates.filter((candidate) => !seen.has(candidate)).sort((a, b) => b.weight - a.weight);
  }

  #refresh(candidates: readonly Candidate[]): void {
    const unchanged =
      candidates.length === this.#built.length &&
      candidates.every(({ key, weight }, i) => key === this.#built[i]?.key && weight === this.#built[i]?.weight);
    if (unchanged) return;
    this.#built = candidates.map(({ key, weight }) => ({ key, weight }));
    this.#table = buildTable(candidates);
  }
}

/** Slot → index of `candidates`. Empty where none has a weight. `size`: a prime. */
export function buildTable(candidates: readonly Candidate[], size = TABLE_SIZE): Uint16Array<ArrayBuffer> {
  const turns = candidates
    .map((candidate, index) => ({
      index,
      key: candidate.key,
      weight: candidate.weight,
      credit: 0,
      position: candidate.hash % size,
      skip: 1 + (pairScore(SKIP_SEED, candidate.hash) % (size - 1)),
    }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .slice(0, size);
  if (turns.length === 0) return new Uint16Array(0);

  const heaviest = Math.max(...turns.map(({ weight }) => weight));
  const table = new Uint16Array(size);
  const filled = new Uint8Array(size);
  for (let left = size; left > 0; ) {
    for (const turn of turns) {
      // The heaviest has a turn in each round, the others in proportion.
      turn.credit += turn.weight / heaviest;
      if (turn.credit < 1) continue;
      turn.credit -= 1;
      while (filled[turn.position] === 1) turn.position = (turn.position + turn.skip) % size;
      filled[turn.position] = 1;
      table[turn.position] = turn.index;
      if (--left === 0) break;
    }
  }
  return table;
}
