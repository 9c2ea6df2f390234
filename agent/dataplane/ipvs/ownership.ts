// Whose a virtual server is. ipvs has no names, and others (keepalived) may have servers of their own in it. Pure.
import { familyOf, within } from "../../../src/shared/net/ranges.ts";
import { setOf } from "./names.ts";
import { partsOf } from "./servers.ts";

/**
 * True for what kube-proxy or this agent made: its address is on their device, or its socket or NodePort is in one of their sets. So a
 * server is made after its entry, and the entry goes after the server. Never true within `excludeCIDRs`.
 */
export function isOurServer(
  addresses: { readonly has: (address: string) => boolean },
  entries: { readonly has: (entry: string) => boolean },
  excludeCIDRs: readonly string[],
): (key: string) => boolean {
  return (key) => {
    const { protocol, address, port } = partsOf(key);
    if (excludeCIDRs.length > 0 && within(excludeCIDRs, [address]).length > 0) return false;
    if (addresses.has(address)) return true;
    const family = familyOf(address);
    const sockets = [
      ...(["KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER"] as const),
      "KUBE-NODE-PORT-SCTP-HASH" as const,
    ];
    return (
      sockets.some((set) => entries.has(`${setOf(set, family)} ${address},${protocol}:${port}`)) ||
      (protocol === "tcp" && entries.has(`${setOf("KUBE-NODE-PORT-TCP", family)} ${port}`)) ||
      (protocol === "udp" && entries.has(`${setOf("KUBE-NODE-PORT-UDP", family)} ${port}`))
    );
  };
}
