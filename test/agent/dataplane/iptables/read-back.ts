// What becomes of the first packet of a connection, read back from rules as the kernel would follow them; and the same from a plan.
// Names of chains do not show in it. Only what our rules use is understood: anything else is an error.
import type { KernelPort } from "../../../../agent/plan/plan.ts";
import { within } from "../../../../src/shared/net/ranges.ts";

/** Chain → its rules, as iptables-save prints them. */
export type Rules = ReadonlyMap<string, readonly string[]>;

export interface Packet {
  readonly source: string;
  /** It comes from a program of this node. */
  readonly fromNode: boolean;
  readonly destination: string;
  /** That is an address of this node. */
  readonly toNode: boolean;
  readonly protocol: string;
  readonly port: number;
}

export interface Fate {
  /** "served", "reject", "drop", or "passes": no rule concerns it. */
  readonly verdict: string;
  /** "10.244.1.5:8080" → its share of connections, to three decimals. */
  readonly shares?: Record<string, string>;
  readonly masqueraded?: boolean;
  /** Seconds for which each client is remembered. */
  readonly affinity?: readonly string[];
}

interface Walk {
  readonly shares: Map<string, number>;
  readonly marked: Map<string, boolean>;
  readonly affinity: Set<string>;
}

export function readBack(nat: Rules, filter: Rules, packet: Packet): Fate {
  const walk: Walk = { shares: new Map(), marked: new Map(), affinity: new Set() };
  follow(nat, "KUBE-SERVICES", packet, { weight: 1, marked: false }, walk);
  if (walk.shares.size > 0)
    return {
      verdict: "served",
      shares: Object.fromEntries([...walk.shares].map(([to, share]) => [to, share.toFixed(3)])),
      masqueraded: [...walk.marked.values()].every(Boolean),
      affinity: [...walk.affinity],
    };
  // What a node sends elsewhere passes OUTPUT alone, and what it sends to itself INPUT as well.
  const isOutputAlone = packet.fromNode && !packet.toNode;
  const chains = isOutputAlone ? ["KUBE-SERVICES"] : ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"];
  for (const chain of ["KUBE-PROXY-FIREWALL", ...chains])
    for (const rule of filter.get(chain) ?? [])
      if (matches(rule, packet)) return { verdict: targetOf(rule).toLowerCase() };
  return { verdict: "passes" };
}

interface State {
  /** So much of the traffic is still here. */
  readonly weight: number;
  readonly marked: boolean;
}

/** What is left at the end of the chain. */
function follow(nat: Rules, chain: string, packet: Packet, from: State, walk: Walk): State {
  const rules = nat.get(chain);
  if (rules === undefined) throw new Error(`a rule leads to ${chain}, which is not there`);
  let state = from;
  for (const rule of rules) {
    if (state.weight < 1e-9 || !matches(rule, packet)) continue;
    // Nobody is remembered yet.
    const seconds = /--rcheck --seconds (\d+)/.exec(rule)?.[1];
    if (seconds !== undefined) {
      walk.affinity.add(seconds);
      continue;
    }
    const target = targetOf(rule);
    if (target === "RETURN") return state;
    if (target === "MARK") state = { ...state, marked: true };
    else if (target === "DNAT") {
      const to = /--to-destination (\S+)/.exec(rule)?.[1] ?? "";
      walk.shares.set(to, (walk.shares.get(to) ?? 0) + state.weight);
      walk.marked.set(to, state.marked);
      return { ...state, weight: 0 };
    } else {
      const part = shareOf(rule);
      const back = follow(nat, target, packet, { ...state, weight: state.weight * part }, walk);
      state = { weight: state.weight * (1 - part) + back.weight, marked: part === 1 ? back.marked : state.marked };
    }
  }
  return state;
}

const targetOf = (rule: string): string => / -j (\S+)/.exec(` ${rule}`)?.[1] ?? "";

function shareOf(rule: string): number {
  const every = /--mode nth --every (\d+)/.exec(rule)?.[1];
  return every === undefined ? Number(/--probability (\S+)/.exec(rule)?.[1] ?? 1) : 1 / Number(every);
}

/** Of all that is before the target. Statistic and recent are not a matter of the packet. */
function matches(rule: string, { source, fromNode, destination, toNode, protocol, port }: Packet): boolean {
  const words = rule.replace(/-m comment --comment "[^"]*" ?/, "").split(" ");
  const inRange = (range: string, address: string) =>
    range.includes("/") ? within([range], [address]).length > 0 : range === address;
  for (let at = 0; at < words.length && words[at] !== "-j"; at++) {
    const isNot = words[at] === "!";
    const option = words[isNot ? ++at : at] ?? "";
    const value = words[++at] ?? "";
    const tests: Record<string, () => boolean> = {
      "-s": () => inRange(value, source),
      "-d": () => inRange(value, destination),
      "-p": () => value === protocol,
      "--dport": () => value === String(port),
      "--dst-type": () => toNode,
      "--src-type": () => fromNode,
      // It is the first packet.
      "--ctstate": () => value === "NEW",
    };
    const test = tests[option];
    if (test !== undefined && test() === isNot) return false;
    if (flags.has(option)) at--;
    else if (test === undefined && !known.has(option)) throw new Error(`what is ${option} in ${rule}?`);
  }
  return true;
}

/** Options without a value. */
const flags = new Set(["--rcheck", "--set", "--reap"]);
const known = new Set([...["-m", "--mode", "--probability", "--every", "--packet", "--name", "--seconds"], ...flags]);

export type Asker = "pod" | "node" | "outside";

/** The same from what the plan says. `allowed`: the asker's address is within the source ranges. */
export function expected(
  port: KernelPort,
  frontend: "internal" | "external" | "balancer",
  asker: Asker,
  allowed: boolean,
): Fate {
  const policy = frontend === "internal" ? port.internalPolicy : port.externalPolicy;
  const isLocal = policy === "Local";
  const inside = frontend !== "internal" && isLocal && asker !== "outside" && port.cluster.length > 0;
  const endpoints = isLocal && !inside ? port.local : port.cluster;
  const nobody = isLocal ? port.local : port.cluster;
  if (frontend === "balancer" && !allowed && port.sourceRanges !== undefined) {
    if (port.cluster.length > 0 || port.local.length > 0) return { verdict: "drop" };
  }
  if (endpoints.length === 0 && nobody.length === 0) return { verdict: port.anywhere ? "drop" : "reject" };
  return {
    verdict: "served",
    shares: Object.fromEntries(
      endpoints.map(({ address, port: number }) => [
        address.includes(":") ? `[${address}]:${number}` : `${address}:${number}`,
        (1 / endpoints.length).toFixed(3),
      ]),
    ),
    masqueraded:
      asker === "outside"
        ? frontend === "internal" || !isLocal
        : asker === "node" || (frontend !== "internal" && !isLocal),
    affinity: port.affinitySeconds === undefined ? [] : [String(port.affinitySeconds)],
  };
}
