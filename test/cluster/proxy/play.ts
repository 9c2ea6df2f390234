// Plays rows: asks from where a row says until its expectation can be judged, many rows at once.
import type { Outcome, Question } from "./messages.ts";
import { nodeAddresses, nodeOf, SERVICE_PORT, serviceAddresses, unallocated } from "./places.ts";
import type { Residents } from "./residents.ts";
import { type Case, type Family, judge } from "./row.ts";

/** An answer on this machine takes a millisecond. Less than TCP's second try takes, which might hide a drop. */
const WITHIN_MS = 900;
/** Most of the time of those that drop is waiting. */
const AT_ONCE = 24;

export interface Played {
  readonly case: Case;
  readonly right: boolean;
  readonly seen: ReadonlyMap<string, number>;
  /** It went wrong first, while others were played beside it. */
  readonly again?: ReadonlyMap<string, number>;
}

/** `numbers`: of the Services, by name. */
export async function playAll(
  cases: readonly Case[],
  residents: Residents,
  numbers: ReadonlyMap<string, number>,
): Promise<Played[]> {
  const played = new Map<Case, Played>();
  const waiting = [...cases];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      played.set(next, await play(next, residents, numbers));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  // A busy machine may be late once. What is wrong is wrong again when nobody else asks.
  for (const first of [...played.values()].filter(({ right }) => !right)) {
    played.set(first.case, { ...(await play(first.case, residents, numbers)), again: first.seen });
  }
  return cases.flatMap((each) => played.get(each) ?? []);
}

async function play(each: Case, residents: Residents, numbers: ReadonlyMap<string, number>): Promise<Played> {
  const { row, family, protocol, expected } = each;
  const number = numbers.get(row.service);
  if (number === undefined) throw new Error(`there is no Service ${row.service}`);
  const question: Question = {
    do: "ask",
    protocol,
    family,
    ...destination(row.to, number, family),
    withinMs: WITHIN_MS,
  };
  const seen = new Map<string, number>();
  for (;;) {
    const word = wordOf(await residents.ask(row.from, question));
    seen.set(word, (seen.get(word) ?? 0) + 1);
    const verdict = judge(expected, seen);
    if (verdict !== "more") return { case: each, right: verdict === "right", seen };
  }
}

const localhost: Readonly<Record<Family, string>> = { IPv4: "127.0.0.1", IPv6: "::1" };

export function destination(to: string, number: number, family: Family): { address: string; port: number } {
  const { clusterIP, external, balancer, nodePort } = serviceAddresses(number);
  const [kind = "", rest = ""] = to.split(/[:@]/);
  if (kind === "ClusterIP") return { address: clusterIP[family], port: rest === "" ? SERVICE_PORT : Number(rest) };
  if (kind === "ExternalIP") return { address: external[family], port: SERVICE_PORT };
  if (kind === "LoadBalancer") return { address: balancer[family], port: SERVICE_PORT };
  if (kind === "Unallocated") return { address: unallocated[family], port: SERVICE_PORT };
  if (kind !== "NodePort") throw new Error(`"${to}" is no destination`);
  if (rest === "localhost") return { address: localhost[family], port: nodePort };
  const [name = "", which] = rest.split("-");
  const node = nodeOf(name);
  return { address: (which === "secondary" ? node.secondary : node.addresses)[family], port: nodePort };
}

/** The word of row.ts for it. */
export function wordOf(outcome: Outcome): string {
  if (outcome.kind === "reject" || outcome.kind === "drop") return outcome.kind;
  if (outcome.kind === "error") return outcome.code;
  if (outcome.kind !== "answer") return outcome.kind;
  const { name, source, kept } = outcome;
  if (kept) return name;
  return nodeAddresses.has(source) ? `${name}*` : `${name}(${source})`;
}
