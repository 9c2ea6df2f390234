// From a snapshot to what the cluster serves: compile, ask the directory for the hostnames, compile again without those it
// refused. Stores nothing: what comes back is written by the ClusterObject in one transaction.
import { compile } from "../routing/compile.ts";
import type { DialRules } from "../routing/dial.ts";
import type { ListenerSettings } from "../routing/ports.ts";
import type { Snapshot } from "../../shared/model/snapshot.ts";
import type { Compiled } from "./store.ts";
import type { GatewayRpc } from "../rpc/contract.ts";

type Claimed = Awaited<ReturnType<GatewayRpc["claim"]>>;
type Refused = Map<string, Pick<Claimed["refused"][number], "reason" | "message">>;

export interface PublicationContext {
  readonly cluster: string;
  readonly edgeDomain: string;
  readonly dial: DialRules;
  readonly listeners: ListenerSettings;
  readonly assigned: Compiled["assigned"];
  /** undefined: the directory did not answer. */
  readonly claim: (hostnames: readonly string[]) => Promise<Claimed | undefined>;
}

/** A refused default name is replaced by its hashed form, which may be refused as well: more rounds than that change nothing. */
const ROUNDS = 4;

/** undefined: the directory did not answer, and nothing may change. */
export async function prepare(snapshot: Snapshot, context: PublicationContext) {
  const { claim, listeners, ...given } = context;
  let refused: Refused = new Map();
  for (let round = 1; ; round++) {
    const compiled = compile(snapshot, { ...given, ...listeners, refused });
    const answer = await claim(compiled.claims);
    if (answer === undefined) return undefined;
    // A default name that was refused is not claimed again: what was said of it stands.
    const claimed = new Set(compiled.claims);
    const now: Refused = new Map([...refused].filter(([hostname]) => !claimed.has(hostname)));
    for (const { hostname, reason, message } of answer.refused) now.set(hostname, { reason, message });
    const settled = now.size === refused.size && [...now.keys()].every((hostname) => refused.has(hostname));
    if (settled || round === ROUNDS) return compiled;
    refused = now;
  }
}
