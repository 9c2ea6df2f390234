// How the endpoints of a Service port share its slots. A new connection takes a slot, at random or by a hash of its source, and
// goes to the endpoint that has it. Pure.
import { buildTable } from "../../endpoints/balance/maglev.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";
import type { EndpointAlgorithm } from "../../../src/shared/model/snapshot.ts";
import type { KernelEndpoint } from "../../plan/plan.ts";

/** What nftables can do. "rr" counts for each Service port, so it costs a chain of its own. */
export const nftablesAlgorithms = [
  "random",
  "rr",
  "wrr",
  "sh",
  "maglev",
] as const satisfies readonly EndpointAlgorithm[];

/** How a slot is chosen. */
export type Choice = "random" | "rr" | "source";

export interface Slots {
  readonly choice: Choice;
  /** Slot → index of its endpoint. Never empty where there is an endpoint. */
  readonly slots: readonly number[];
}

/** Weights are met within 1 / WEIGHTED_MAX of the whole. */
const WEIGHTED_MAX = 512;
/** Primes. An endpoint has 16 slots or more, until there are 500; shares then differ by a few percent. */
const MAGLEV_SIZES = [251, 1_021, 4_093, 8_191];

/** An algorithm that nftables cannot do is "random"; the caller says so to the Service's owner. */
export function slotsOf(endpoints: readonly KernelEndpoint[], algorithm: EndpointAlgorithm): Slots {
  const each = endpoints.map((_, index) => index);
  switch (algorithm) {
    case "rr":
      return { choice: "rr", slots: each };
    case "wrr":
      return { choice: "random", slots: weighted(endpoints) };
    case "sh":
      return { choice: "source", slots: weighted(endpoints) };
    case "maglev":
      return { choice: "source", slots: maglev(endpoints) };
    default:
      return { choice: "random", slots: each };
  }
}

/** As few slots as say the weights exactly, or WEIGHTED_MAX; each endpoint with a weight has one at least. */
function weighted(endpoints: readonly KernelEndpoint[]): number[] {
  const weights = endpoints.map(({ weight }) => weight);
  const divisor = weights.reduce(gcd, 0);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (divisor === 0) return endpoints.map((_, index) => index);
  const exact = total / divisor <= WEIGHTED_MAX;
  return weights.flatMap((weight, index) => {
    const share = exact ? weight / divisor : Math.max(1, Math.round((weight / total) * WEIGHTED_MAX));
    return Array<number>(weight === 0 ? 0 : share).fill(index);
  });
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function maglev(endpoints: readonly KernelEndpoint[]): number[] {
  if (endpoints.length < 2) return endpoints.map((_, index) => index);
  const size = MAGLEV_SIZES.find((each) => each >= endpoints.length * 16) ?? MAGLEV_SIZES.at(-1);
  const candidates = endpoints.map(({ address, port, weight }) => {
    const key = `${address} ${port}`;
    return { key, hash: hash32(key), weight, inFlight: 0 };
  });
  return [...buildTable(candidates, size)];
}
