// A Service → what it asks of the kernel: entries of sets, addresses of the device, virtual servers and rules. Pure. In whose set an
// address is decides what the constant rules (rules.ts) do with its packets.
import { hostPort } from "../../../src/shared/net/host-port.ts";
import { within } from "../../../src/shared/net/ranges.ts";
import type { KernelEndpoint, KernelPort, KernelService, PlanService } from "../../plan/plan.ts";
import type { Element } from "../kernel/claims.ts";
import type { Facts } from "./facts.ts";
import { type SetName, setOf } from "./names.ts";
import { schedulerOf, weightOf } from "./schedulers.ts";
import { serverKey, serverText } from "./servers.ts";

/** What an element is, beside the sets of ipset. */
export const ADDRESS = "address";
export const SERVER = "server";
/** A rule of KUBE-IPVS-OUT-FILTER. */
export const outFilter = ({ family }: Pick<Facts, "family">): string => `rule ${family}`;

/** Of one family. */
export function elementsOf({ kernel }: Pick<PlanService, "kernel">, facts: Facts): readonly Element[] {
  const ports = (kernel?.ports ?? []).filter(({ family }) => family === facts.family);
  return [
    ...ports.flatMap((port) => portElements(port, facts)),
    ...(ports.length > 0 ? healthCheck(kernel, facts) : []),
  ];
}

function healthCheck(kernel: KernelService | undefined, { family }: Facts): Element[] {
  const port = kernel?.healthCheck?.nodePort;
  return port === undefined ? [] : [{ set: setOf("KUBE-HEALTH-CHECK-NODE-PORT", family), key: String(port) }];
}

function portElements(port: KernelPort, facts: Facts): Element[] {
  const { clusterIP, externalIPs, loadBalancerIPs, internalPolicy, externalPolicy, cluster, local, nodePort } = port;
  const protocol = port.protocol.toLowerCase();
  const elements: Element[] = [];
  const put = (name: SetName, key: string) => elements.push({ set: setOf(name, facts.family), key });
  const at = (address: string) => `${address},${protocol}:${port.port}`;
  const serve = (address: string, number: number, endpoints: readonly KernelEndpoint[]) => {
    elements.push({ set: SERVER, key: serverKey(protocol, address, number), value: serverOf(port, endpoints, facts) });
    if (facts.machineAddresses.includes(address)) return;
    elements.push({ set: ADDRESS, key: address });
    put("KUBE-IPVS-IPS", address);
  };

  const isLocal = externalPolicy === "Local";
  for (const { address, port: number, local: isHere } of [...cluster, ...local])
    if (isHere) put("KUBE-LOOP-BACK", `${address},${protocol}:${number},${address}`);
  put("KUBE-CLUSTER-IP", at(clusterIP));
  // Without local endpoints ipvs refuses it, as it does where there are none at all.
  serve(clusterIP, port.port, internalPolicy === "Local" ? local : cluster);
  // A virtual server has one list of endpoints, whoever asks. Where it has none here, pods of this node still get all of them;
  // clients from outside do too, and get no answer that they know, which is what dropping is to them.
  const external = isLocal && local.length > 0 ? local : cluster;
  for (const address of externalIPs) {
    put(isLocal ? "KUBE-EXTERNAL-IP-LOCAL" : "KUBE-EXTERNAL-IP", at(address));
    serve(address, port.port, external);
  }
  for (const address of loadBalancerIPs) {
    put("KUBE-LOAD-BALANCER", at(address));
    if (isLocal) put("KUBE-LOAD-BALANCER-LOCAL", at(address));
    elements.push(...guard(address, at(address), port, facts));
    serve(address, port.port, external);
  }
  if (nodePort !== undefined && facts.nodePortAddresses.length > 0) {
    const l4 = port.protocol;
    const keys = l4 === "SCTP" ? facts.nodePortAddresses.map((each) => `${each},sctp:${nodePort}`) : [String(nodePort)];
    for (const key of keys) {
      put(l4 === "SCTP" ? "KUBE-NODE-PORT-SCTP-HASH" : `KUBE-NODE-PORT-${l4}`, key);
      if (isLocal) put(l4 === "SCTP" ? "KUBE-NODE-PORT-LOCAL-SCTP-HASH" : `KUBE-NODE-PORT-LOCAL-${l4}`, key);
    }
    for (const address of facts.nodePortAddresses) {
      const key = serverKey(protocol, address, nodePort);
      elements.push({ set: SERVER, key, value: serverOf(port, external, facts) });
    }
  }
  return elements;
}

/** Who may ask the load balancer's address. */
function guard(address: string, key: string, { sourceRanges, protocol, port }: KernelPort, facts: Facts): Element[] {
  if (sourceRanges === undefined) return [];
  const of = (name: SetName, entry: string): Element => ({ set: setOf(name, facts.family), key: entry });
  const allowsNode = within(sourceRanges, facts.nodeAddresses).length > 0;
  return [
    of("KUBE-LOAD-BALANCER-FW", key),
    // ipset lists a range of one address as that address.
    ...sourceRanges.map((range) => of("KUBE-LOAD-BALANCER-SOURCE-CIDR", `${key},${withoutWhole(range)}`)),
    // What the node itself sends there has that address as its source as well. It is not met in INPUT before ipvs has rewritten it,
    // so that a rule in OUTPUT must ask ipvs what it was.
    ...(allowsNode
      ? [of("KUBE-LOAD-BALANCER-SOURCE-IP", `${key},${address}`)]
      : [{ set: outFilter(facts), key: outRule(address, protocol.toLowerCase(), port, facts) }]),
  ];
}

const withoutWhole = (range: string): string => range.replace(range.includes(":") ? /\/128$/ : /\/32$/, "");
const outRule = (address: string, protocol: string, port: number, { family }: Facts): string =>
  `-s ${address}/${family === "IPv4" ? 32 : 128} -m ipvs --vproto ${protocol} --vaddr ${address} --vport ${port} -j DROP`;

function serverOf(port: KernelPort, endpoints: readonly KernelEndpoint[], facts: Facts): string {
  const scheduler = schedulerOf(port.algorithm, facts);
  const weight = weightOf(scheduler);
  return serverText({
    scheduler,
    persistence: port.affinitySeconds,
    destinations: new Map(endpoints.map((each) => [hostPort(each.address, each.port), weight(each.weight)])),
  });
}
