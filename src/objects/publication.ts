// From a snapshot to what the cluster serves: compile, ask the directory for the hostnames, compile again without those it
// refused. Stores nothing: what comes back is written by the ClusterObject in one transaction.
import { compile } from "../routing/compile.ts";
import type { Snapshot } from "../wire/snapshot.ts";
import type { Compiled } from "./cluster-store.ts";
import type { GatewayRpc } from "./contract.ts";

type Claimed = Awaited<ReturnType<GatewayRpc["claim"]>>;

export interface PublicationContext {
  readonly cluster: string;
  readonly edgeDomain: string;
  readonly listenerPorts: "standard" | "any";
  readonly assigned: Compiled["assigned"];
  /** undefined: the directory did not answer. */
  readonly claim: (hostnames: readonly string[]) => Promise<Claimed | undefined>;
}

/** A refused default name is replaced by its hashed form, which may be refused as well: more rounds than that change nothing. */
const ROUNDS = 4;

/** undefined: the directory did not answer, and nothing may change. */
export async function prepare(snapshot: Snapshot, context: PublicationContext) {
  const { cluster, edgeDomain, listenerPorts, assigned, claim } = context;
  let refused = new Map<string, { reason: "owned" | "not-allowed" | "reserved"; message: string }>();
  for (let round = 1; ; round++) {
    const compiled = compile(snapshot, { cluster, edgeDomain, listenerPorts, assigned, refused });
    // Refused names are asked for again: the directory then knows whom to tell when they become free.
    const answer = await claim([...new Set([...compiled.claims, ...refused.keys()])]);
    if (answer === undefined) return undefined;
    const now = new Map(answer.refused.map(({ hostname, reason, message }) => [hostname, { reason, message }]));
    const settled = now.size === refused.size && [...now.keys()].every((hostname) => refused.has(hostname));
    if (settled || round === ROUNDS) return compiled;
    refused = now;
  }
}
