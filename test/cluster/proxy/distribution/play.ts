// Who gets how many of 10,000 new connections, by each order of endpoints that a mode can do, and how long affinity keeps a client.
import { setTimeout as delay } from "node:timers/promises";
import { iptablesAlgorithms } from "../../../../agent/dataplane/iptables/executor.ts";
import { nftablesAlgorithms } from "../../../../agent/dataplane/nftables/slots.ts";
import { inParallel } from "../../../../src/shared/in-parallel.ts";
import type { EndpointAlgorithm } from "../../../../src/shared/model/snapshot.ts";
import type { ServiceSpec } from "../objects.ts";
import { sourceOf, sources } from "../places.ts";
import { destination, wordOf } from "../play.ts";
import type { ProgramName } from "../programs.ts";
import { families, type Family, type Mode } from "../row.ts";
import type { World } from "../world.ts";
import { faultOf } from "./bound.ts";

const CONNECTIONS = 10_000;
const AT_ONCE = 48;
const WITHIN_MS = 15_000;
const endpoints = ["a1", "b1", "c1"];
/** Annotation postern.dev/weight of the endpoints' nodes. */
const nodeWeights = { a: 1, b: 2, c: 5 };
const weighted = { a1: 1 / 8, b1: 2 / 8, c1: 5 / 8 };
const equal = { a1: 1 / 3, b1: 1 / 3, c1: 1 / 3 };

interface Expected {
  readonly shares: Readonly<Record<string, number>>;
  /** A hash deals by the client's address, so that there must be many. */
  readonly bySource?: true;
  /** How far the shares themselves may be off. */
  readonly slack?: number;
}
const expected: { readonly [algorithm in EndpointAlgorithm]?: Expected } = {
  random: { shares: equal },
  rr: { shares: equal },
  wrr: { shares: weighted },
  sh: { shares: weighted, bySource: true },
  // 251 slots are dealt in whole ones.
  maglev: { shares: weighted, bySource: true, slack: 2 / 251 },
};
const algorithms = Object.keys(expected) as EndpointAlgorithm[];

/** Seconds. */
const AFFINITY = 10;
/** Clients; that all of them choose the endpoint again that they had is chance once in 10^14. */
const CLIENTS = 30;
const STICKY = "sticky-for-a-while";

export const distributionServices: readonly ServiceSpec[] = [
  ...algorithms.map((algorithm) => ({
    ...{ name: `dealt-${algorithm}`, endpoints },
    annotations: { "postern.dev/endpoint-algorithm": algorithm },
  })),
  { name: STICKY, endpoints, affinity: "ClientIP", affinitySeconds: AFFINITY },
];

export interface DistributionOptions {
  readonly program: ProgramName;
  readonly mode: Mode;
  readonly only: string;
  readonly print: (text: string) => void;
}

/** Returns how many counts were right and wrong. */
export async function playDistribution(
  world: World,
  { program, mode, only, print }: DistributionOptions,
): Promise<{ right: number; wrong: number }> {
  for (const [node, weight] of Object.entries(nodeWeights)) await world.cluster.setWeight(node, weight);
  await world.start({});
  const sums = { right: 0, wrong: 0 };
  const say = (what: string, seen: string, fault: string | undefined): void => {
    sums[fault === undefined ? "right" : "wrong"] += 1;
    print(
      `${fault === undefined ? "  ok  " : "WRONG "} ${what.padEnd(14)} ${seen}${fault === undefined ? "" : `\n         ${fault}`}`,
    );
  };
  for (const algorithm of algorithmsOf(program, mode).filter((name) => name.includes(only))) {
    for (const family of families) {
      const { shares, bySource, slack } = expected[algorithm] ?? { shares: equal };
      const counts = await dealt(world, `dealt-${algorithm}`, family, bySource ?? false);
      say(`${algorithm} ${family}`, counted(counts), faultOf(counts, shares, slack));
    }
  }
  if (STICKY.includes(only)) for (const family of families) await affinityEnds(world, family, say);
  return sums;
}

/** kube-proxy deals at random. */
const algorithmsOf = (program: ProgramName, mode: Mode): readonly EndpointAlgorithm[] =>
  program === "kube-proxy" ? ["random"] : mode === "nftables" ? nftablesAlgorithms : iptablesAlgorithms;

async function dealt(
  world: World,
  service: string,
  family: Family,
  bySource: boolean,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const numbers = Array.from({ length: CONNECTIONS }, (_, index) => index);
  await inParallel(AT_ONCE, numbers, async (number) => {
    const name = await nameFor(world, service, family, bySource ? number : undefined);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  });
  return counts;
}

/** Who answers a pod, or the client outside with that number. */
async function nameFor(world: World, service: string, family: Family, client: number | undefined): Promise<string> {
  const outcome = await world.residents.ask(client === undefined ? "a2" : sources.of, {
    ...({ do: "ask", protocol: "TCP", family, withinMs: WITHIN_MS } as const),
    ...destination("ClusterIP", world.numberOf(service), family),
    ...(client !== undefined && { fromAddress: sourceOf(client, family) }),
  });
  // Masquerading is the tables' business.
  return wordOf(outcome).replace("*", "");
}

async function affinityEnds(
  world: World,
  family: Family,
  say: (what: string, seen: string, fault: string | undefined) => void,
): Promise<void> {
  const clients = Array.from({ length: CLIENTS }, (_, index) => index);
  const ask = (): Promise<string[]> => Promise.all(clients.map((client) => nameFor(world, STICKY, family, client)));
  const first = await ask();
  const before = performance.now();
  await delay((AFFINITY * 1000) / 2);
  const second = await ask();
  // Twice the half is more than the whole, but each connection counts from the last.
  await delay((AFFINITY * 1000) / 2);
  const third = await ask();
  const tookMs = performance.now() - before;
  await delay(AFFINITY * 1000 + 1_500);
  const last = await ask();
  const differ = (some: readonly string[], others: readonly string[]): number =>
    some.filter((name, index) => name !== others[index]).length;
  const moved = differ(first, second) + differ(second, third);
  say(`kept ${family}`, `${moved} moved in ${Math.round(tookMs / 1000)} s`, moved > 0 ? "none may" : undefined);
  const free = differ(third, last);
  say(`let go ${family}`, `${free} of ${CLIENTS} moved`, free === 0 ? "some must" : undefined);
}

const counted = (counts: ReadonlyMap<string, number>): string =>
  [...counts]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => `${name} ${count}`)
    .join("  ");
