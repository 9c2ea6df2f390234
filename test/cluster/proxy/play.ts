// Plays rows: asks from where a row says until its expectation can be judged, many rows at once.
import { inParallel } from "../../../src/shared/in-parallel.ts";
import type { Outcome, Question } from "./messages.ts";
import { nodeAddresses, nodeOf, SERVICE_PORT, serviceAddresses, unallocated } from "./places.ts";
import type { Residents } from "./residents.ts";
import { type Case, type Family, judge, type Mode } from "./row.ts";

/** An answer on this machine takes a millisecond. TCP tries again after a second, which might hide a drop: not so long. */
const WITHIN_MS = 900;
/**
 * A client of TCP over IPv6 whose SYN is answered by an ICMP error before its connect() has returned, as between namespaces
 * of one machine, does not notice the first one, only that of its second try.
 */
const REJECTED_WITHIN_MS = 2_500;
/** Most of the time of those that drop is waiting. */
const AT_ONCE = 24;
const AGAIN_MAX = 20;

export interface Pace {
  readonly mode: Mode;
  /** How many times longer than usual an answer may take. */
  readonly patience: number;
}

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
  how: Pace,
): Promise<Played[]> {
  const played = new Map<Case, Played>();
  await inParallel(Math.ceil(AT_ONCE / how.patience), cases, async (each) => {
    played.set(each, await play(each, residents, numbers, how));
  });
  // A busy machine may be late once: what is wrong is played again when nobody else asks. Many are wrong for another reason.
  const wrong = [...played.values()].filter(({ right }) => !right);
  for (const first of wrong.length > AGAIN_MAX ? [] : wrong) {
    played.set(first.case, { ...(await play(first.case, residents, numbers, how)), again: first.seen });
  }
  return cases.flatMap((each) => played.get(each) ?? []);
}

async function play(
  each: Case,
  residents: Residents,
  numbers: ReadonlyMap<string, number>,
  how: Pace,
): Promise<Played> {
  const { row, family, protocol, expected } = each;
  const number = numbers.get(row.service);
  if (number === undefined) throw new Error(`there is no Service ${row.service}`);
  const { patience, mode } = how;
  const withinMs = patience * (expected.words.includes("reject") ? REJECTED_WITHIN_MS : WITHIN_MS);
  const question: Question = {
    do: "ask",
    protocol,
    family,
    ...destination(row.to, number, family),
    withinMs,
  };
  const seen = new Map<string, number>();
  for (;;) {
    const word = wordOf(await residents.ask(row.from, question));
    seen.set(word, (seen.get(word) ?? 0) + 1);
    const verdict = judge(expected, seen, mode);
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
  const { name, source, sameAddress, samePort } = outcome;
  // Masquerading a node's own packet may change nothing but its port. A pod's port changes by itself when its packet would
  // otherwise be taken for one of another connection, to another address of the same endpoint.
  if (sameAddress && (samePort || !nodeAddresses.has(source))) return name;
  return nodeAddresses.has(source) ? `${name}*` : `${name}(${source})`;
}
