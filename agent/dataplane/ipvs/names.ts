// The names of device, sets and chains. They are kube-proxy's own, so that taking over from it and giving back to it changes them in
// place, and each removes what the other left.
import type { Family } from "../../plan/endpoints.ts";

/** Has every address of a Service, so that packets to it are local and reach ipvs. It is never up. */
export const DEVICE = "kube-ipvs0";

const hash = (type: string) => (family: Family) =>
  `${type} family ${family === "IPv4" ? "inet" : "inet6"} hashsize 1024 maxelem 65536`;
const socket = hash("hash:ip,port");
const ports = (): string => "bitmap:port range 0-65535";

/**
 * Name in IPv4 → type. kube-proxy refuses to start over a set of another type or size. The order is that of additions, and removals go
 * the other way round: what lets a packet pass is there before what would drop it.
 */
const types = {
  /** Endpoints of this node and their own address: a pod that reaches itself. */
  "KUBE-LOOP-BACK": hash("hash:ip,port,ip"),
  "KUBE-LOAD-BALANCER-SOURCE-IP": hash("hash:ip,port,ip"),
  "KUBE-LOAD-BALANCER-SOURCE-CIDR": hash("hash:ip,port,net"),
  /** Frontends that only the two sets above may ask. */
  "KUBE-LOAD-BALANCER-FW": socket,
  /** External policy Local: not masqueraded. These come before the sets of all. */
  "KUBE-LOAD-BALANCER-LOCAL": socket,
  "KUBE-LOAD-BALANCER": socket,
  "KUBE-CLUSTER-IP": socket,
  "KUBE-EXTERNAL-IP": socket,
  "KUBE-EXTERNAL-IP-LOCAL": socket,
  "KUBE-NODE-PORT-LOCAL-TCP": ports,
  "KUBE-NODE-PORT-TCP": ports,
  "KUBE-NODE-PORT-LOCAL-UDP": ports,
  "KUBE-NODE-PORT-UDP": ports,
  "KUBE-NODE-PORT-LOCAL-SCTP-HASH": socket,
  "KUBE-NODE-PORT-SCTP-HASH": socket,
  "KUBE-HEALTH-CHECK-NODE-PORT": ports,
  /** What is on the device. */
  "KUBE-IPVS-IPS": hash("hash:ip"),
} as const;

export type SetName = keyof typeof types;
export const setNames = Object.keys(types) as readonly SetName[];

/** The kernel's limit for the name of a set. */
const NAME_MAX = 31;

export const setOf = (name: SetName, family: Family): string =>
  family === "IPv4" ? name : name.replace("KUBE-", "KUBE-6-").slice(0, NAME_MAX);

export const createLine = (name: SetName, family: Family): string =>
  `create ${setOf(name, family)} ${types[name](family)}`;

/** Name in the kernel → its family, and its place in the order of additions. */
export const knownSets: ReadonlyMap<string, { readonly family: Family; readonly place: number }> = new Map(
  (["IPv4", "IPv6"] as const).flatMap((family) =>
    setNames.map((name, place) => [setOf(name, family), { family, place }] as const),
  ),
);

export const NODE_PORT = "KUBE-NODE-PORT";
export const LOAD_BALANCER = "KUBE-LOAD-BALANCER";
export const SOURCE_RANGES = "KUBE-SOURCE-RANGES-FIREWALL";
export const IPVS_FILTER = "KUBE-IPVS-FILTER";
export const IPVS_OUT_FILTER = "KUBE-IPVS-OUT-FILTER";

/** Chains that the iptables mode has not. The others of this mode have the names of those. */
export const ownChains: ReadonlySet<string> = new Set([
  ...[NODE_PORT, LOAD_BALANCER, SOURCE_RANGES, IPVS_FILTER, IPVS_OUT_FILTER],
]);
