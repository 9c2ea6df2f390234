// The names of the chains. They are kube-proxy's own, so that taking over from it, and giving back to it, overwrites chains in
// place: no packet meets two sets of rules, and tools that look for these names go on working.
import { createHash } from "node:crypto";

/** Chains that every node has. Those of `filter` and of `nat` share some of the names. */
export const SERVICES = "KUBE-SERVICES";
export const EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES";
export const NODEPORTS = "KUBE-NODEPORTS";
export const POSTROUTING = "KUBE-POSTROUTING";
export const MARK_MASQ = "KUBE-MARK-MASQ";
export const FORWARD = "KUBE-FORWARD";
export const PROXY_FIREWALL = "KUBE-PROXY-FIREWALL";
/** Empty, in three tables. If it is gone, somebody has flushed the rules. */
export const CANARY = "KUBE-PROXY-CANARY";
/** Ours alone, and only where several CIDRs say which pods are local: marks what comes from elsewhere. */
export const MARK_OUTSIDE = "KUBE-MARK-OUTSIDE";
/** Shared with the kubelet: rules are added to it, and it is never flushed or deleted. */
export const FIREWALL = "KUBE-FIREWALL";

const shared = new Set([
  ...[SERVICES, EXTERNAL_SERVICES, NODEPORTS, POSTROUTING, MARK_MASQ, FORWARD, PROXY_FIREWALL, CANARY, MARK_OUTSIDE],
]);
/** XLB was the name of EXT until Kubernetes 1.24. */
const OF_SERVICES = /^KUBE-(?:SVC|SVL|EXT|FW|SEP|XLB)-[A-Z2-7]{16}$/;

/** True for chains that a Service or an endpoint of it has for itself. */
export const isServiceChain = (name: string): boolean => OF_SERVICES.test(name);
/** True for all that this executor, or a kube-proxy in iptables mode, makes, and nobody else. */
export const isOurs = (name: string): boolean => shared.has(name) || isServiceChain(name);

export interface PortChains {
  /** Deals to all endpoints. */
  readonly cluster: string;
  /** Deals to endpoints of this node. */
  readonly local: string;
  /** For what comes to a NodePort, an external IP or a load balancer's IP. */
  readonly external: string;
  /** Passes what the source ranges allow. */
  readonly firewall: string;
  readonly endpoint: (address: string) => string;
}

/** `port` is "namespace/name:port name", or "namespace/name" where the port has no name; `protocol` is in lower case. */
export function portChains(port: string, protocol: string): PortChains {
  const hash = base32Hash(port + protocol);
  return {
    cluster: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
    endpoint: (address) => `KUBE-SEP-${base32Hash(port + protocol + address)}`,
  };
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The first 16 characters of the base32 (RFC 4648) of the SHA-256: 10 bytes, 5 bits a character. */
function base32Hash(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex").slice(0, 20);
  const digits = BigInt(`0x${hex}`).toString(32).padStart(16, "0");
  return digits.replaceAll(/./g, (digit) => ALPHABET.charAt(Number.parseInt(digit, 32)));
}
