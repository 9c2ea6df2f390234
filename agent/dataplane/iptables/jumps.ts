// The ways from the kernel's own chains into ours. Pure. They are put before whatever is there, one by one and only where they are
// missing, so that no rule of anybody else is moved or rewritten.
import type { Facts } from "./facts.ts";
import * as names from "./names.ts";

export interface Jump {
  readonly table: "filter" | "nat";
  readonly chain: string;
  /** As iptables-save prints it, but without a comment. */
  readonly rule: string;
  readonly comment: string;
  /** Prepended, unless this says otherwise. */
  readonly append?: true;
}

const onlyNew = "-m conntrack --ctstate NEW ";
const to = (table: Jump["table"], chain: string, target: string, comment: string, match = ""): Jump => ({
  ...{ table, chain, comment },
  rule: `${match}-j ${target}`,
});

export function jumpsOf({ localhostNodePorts }: Pick<Facts, "localhostNodePorts">): readonly Jump[] {
  const external = "kubernetes externally-visible service portals";
  const firewall = "kubernetes load balancer firewall";
  const portals = "kubernetes service portals";
  return [
    to("filter", "INPUT", names.EXTERNAL_SERVICES, external, onlyNew),
    to("filter", "FORWARD", names.EXTERNAL_SERVICES, external, onlyNew),
    to("filter", "INPUT", names.NODEPORTS, "kubernetes health check service ports"),
    to("filter", "FORWARD", names.SERVICES, portals, onlyNew),
    to("filter", "OUTPUT", names.SERVICES, portals, onlyNew),
    to("filter", "FORWARD", names.FORWARD, "kubernetes forwarding rules"),
    ...["INPUT", "OUTPUT", "FORWARD"].map((chain) => to("filter", chain, names.PROXY_FIREWALL, firewall, onlyNew)),
    ...(localhostNodePorts
      ? [
          to("filter", "INPUT", names.FIREWALL, "kubernetes firewall"),
          to("filter", "OUTPUT", names.FIREWALL, "kubernetes firewall"),
          guard,
        ]
      : []),
    to("nat", "OUTPUT", names.SERVICES, portals),
    to("nat", "PREROUTING", names.SERVICES, portals),
    to("nat", "POSTROUTING", names.POSTROUTING, "kubernetes postrouting rules"),
  ];
}

/**
 * With route_localnet, which NodePorts at 127.0.0.1 need, packets from the wire to 127.0.0.0/8 would be let in. The kubelet has
 * the same rule.
 */
const guard: Jump = {
  ...{ table: "filter", chain: names.FIREWALL, append: true, comment: "block incoming localnet connections" },
  rule: "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
};

/** `listed` is what `iptables -S` printed of the jump's chain, or iptables-save of its table. */
export function isThere(jump: Jump, listed: string): boolean {
  return listed.split("\n").some((line) => withoutComment(line) === `-A ${jump.chain} ${jump.rule}`);
}

/** As arguments of iptables. */
export const ruleOf = ({ rule, comment }: Jump): readonly string[] =>
  ["-m", "comment", "--comment", comment].concat(rule.split(" "));

export const jumpLine = ({ chain, rule, comment, append }: Jump): string =>
  `${append ? "-A" : "-I"} ${chain} -m comment --comment "${comment}" ${rule}`;

const withoutComment = (line: string): string => line.replace(/-m comment --comment (?:"[^"]*"|\S+) /, "").trimEnd();
