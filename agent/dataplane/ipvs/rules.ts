// The chains of iptables around ipvs: what is masqueraded, refused and let through. Pure. They ask the sets, and so they are the same
// whatever Services there are; only KUBE-IPVS-OUT-FILTER has a rule for each frontend that this node may not ask.
import type { Family } from "../../plan/endpoints.ts";
import type { Jump } from "../iptables/jumps.ts";
import * as shared from "../iptables/names.ts";
import { type Chains, fixedRules } from "../iptables/render.ts";
import type { Facts } from "./facts.ts";
import * as names from "./names.ts";

export interface Rules {
  readonly filter: Chains;
  readonly nat: Chains;
}

export function rulesOf(
  facts: Pick<Facts, "family" | "mark" | "fromPods" | "masqueradeAll">,
  outFilter: readonly string[],
): Rules {
  const { family } = facts;
  const inSet = (name: names.SetName, match: string) => `-m set --match-set ${names.setOf(name, family)} ${match}`;
  const fixed = fixedRules(facts).nat;
  const toSelf = `${inSet("KUBE-LOOP-BACK", "dst,dst,src")} -j MASQUERADE --random-fully`;
  return {
    nat: new Map([
      ...[...fixed].filter(([chain]) => chain !== shared.CANARY),
      // A pod that reaches itself must see another source than its own address, or it would answer itself directly.
      [shared.POSTROUTING, [toSelf, ...(fixed.get(shared.POSTROUTING) ?? [])]],
      [
        names.LOAD_BALANCER,
        [`${inSet("KUBE-LOAD-BALANCER-LOCAL", "dst,dst")} ${fromOutside} -j RETURN`, `-j ${shared.MARK_MASQ}`],
      ],
      [names.NODE_PORT, nodePortRules(inSet)],
      [shared.SERVICES, serviceRules(facts, inSet)],
    ]),
    filter: new Map([
      [
        shared.FORWARD,
        [
          `-m mark --mark ${facts.mark}/${facts.mark} -j ACCEPT`,
          "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
      ],
      [names.NODE_PORT, [`${inSet("KUBE-HEALTH-CHECK-NODE-PORT", "dst")} -p tcp -j ACCEPT`]],
      [
        names.SOURCE_RANGES,
        [
          `${inSet("KUBE-LOAD-BALANCER-SOURCE-CIDR", "dst,dst,src")} -j RETURN`,
          `${inSet("KUBE-LOAD-BALANCER-SOURCE-IP", "dst,dst,src")} -j RETURN`,
          "-j DROP",
        ],
      ],
      [shared.PROXY_FIREWALL, [`${inSet("KUBE-LOAD-BALANCER-FW", "dst,dst")} -j ${names.SOURCE_RANGES}`]],
      [names.IPVS_FILTER, filterRules(inSet)],
      [names.IPVS_OUT_FILTER, outFilter],
    ]),
  };
}

type InSet = (name: names.SetName, match: string) => string;
/**
 * What the node itself sends to one of its Services has that very address as its source, which no endpoint on another node could
 * answer. So it is masqueraded whatever the policy says.
 */
const fromOutside = "-m addrtype ! --src-type LOCAL";
const fromNode = "-m addrtype --src-type LOCAL";

function serviceRules(
  { family, masqueradeAll, fromPods }: Pick<Facts, "family" | "masqueradeAll" | "fromPods">,
  inSet: InSet,
): string[] {
  const toClusterIP = inSet("KUBE-CLUSTER-IP", "dst,dst");
  const [pods, ...more] = fromPods;
  const internal = masqueradeAll
    ? `${toClusterIP} -j ${shared.MARK_MASQ}`
    : pods === undefined
      ? `${toClusterIP} ${fromNode} -j ${shared.MARK_MASQ}`
      : more.length === 0
        ? `${toClusterIP} ! ${pods} -j ${shared.MARK_MASQ}`
        : `${toClusterIP} -j ${shared.MARK_OUTSIDE}`;
  return [
    `-s ${family === "IPv4" ? "127.0.0.0/8" : "::1/128"} -j RETURN`,
    `${inSet("KUBE-LOAD-BALANCER", "dst,dst")} -j ${names.LOAD_BALANCER}`,
    internal,
    `${inSet("KUBE-EXTERNAL-IP", "dst,dst")} -j ${shared.MARK_MASQ}`,
    `${inSet("KUBE-EXTERNAL-IP-LOCAL", "dst,dst")} ${fromNode} -j ${shared.MARK_MASQ}`,
    `-m addrtype --dst-type LOCAL -j ${names.NODE_PORT}`,
    // Others' rules behind these, of a CNI's host ports for example, shall not take them elsewhere.
    ...(["KUBE-CLUSTER-IP", "KUBE-LOAD-BALANCER", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"] as const).map(
      (name) => `${inSet(name, "dst,dst")} -j ACCEPT`,
    ),
  ];
}

function nodePortRules(inSet: InSet): string[] {
  const ports = [
    ["tcp", "KUBE-NODE-PORT-LOCAL-TCP", "KUBE-NODE-PORT-TCP", "dst"],
    ["udp", "KUBE-NODE-PORT-LOCAL-UDP", "KUBE-NODE-PORT-UDP", "dst"],
    ["sctp", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-NODE-PORT-SCTP-HASH", "dst,dst"],
  ] as const;
  return ports.flatMap(([protocol, local, all, match]) => [
    `-p ${protocol} ${inSet(local, match)} ${fromOutside} -j RETURN`,
    `-p ${protocol} ${inSet(all, match)} -j ${shared.MARK_MASQ}`,
  ]);
}

/** Packets reach INPUT before ipvs takes them. Without this, the node's own servers would answer at the addresses of Services. */
function filterRules(inSet: InSet): string[] {
  const served = ["KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"] as const;
  return [
    ...served.map((name) => `${inSet(name, "dst,dst")} -j RETURN`),
    `${inSet("KUBE-HEALTH-CHECK-NODE-PORT", "dst")} -j RETURN`,
    `-m conntrack --ctstate NEW ${inSet("KUBE-IPVS-IPS", "dst")} -j REJECT`,
  ];
}

const to = (table: Jump["table"], chain: string, target: string, comment: string): Jump => ({
  ...{ table, chain, comment },
  rule: `-j ${target}`,
});

/** From the kernel's own chains. Each is put before whatever is there, so the last one of a chain is met first. */
export const jumps: readonly Jump[] = [
  to("nat", "OUTPUT", shared.SERVICES, "kubernetes service portals"),
  to("nat", "PREROUTING", shared.SERVICES, "kubernetes service portals"),
  to("nat", "POSTROUTING", shared.POSTROUTING, "kubernetes postrouting rules"),
  to("filter", "FORWARD", shared.FORWARD, "kubernetes forwarding rules"),
  to("filter", "INPUT", names.NODE_PORT, "kubernetes health check rules"),
  to("filter", "INPUT", shared.PROXY_FIREWALL, "kube-proxy firewall rules"),
  to("filter", "FORWARD", shared.PROXY_FIREWALL, "kube-proxy firewall rules"),
  to("filter", "INPUT", names.IPVS_FILTER, "kubernetes ipvs access filter"),
  to("filter", "OUTPUT", names.IPVS_OUT_FILTER, "kubernetes ipvs access filter"),
];

/** The modules without which the kernel takes none of these rules. */
export const modules = (family: Family): string =>
  `xt_set xt_comment xt_mark xt_addrtype xt_conntrack xt_MASQUERADE ${family === "IPv4" ? "ipt_REJECT" : "ip6t_REJECT"}`;
