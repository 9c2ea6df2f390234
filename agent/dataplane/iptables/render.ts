// Services → chains and rules. Pure, and all of what a packet meets is decided here. Shape and names are kube-proxy's
// (README.md says which and why); a rule is written as iptables-restore reads it, without "-A chain".
import { hostPort } from "../../../src/shared/net/host-port.ts";
import { within } from "../../../src/shared/net/ranges.ts";
import type { KernelEndpoint, KernelPort, KernelService } from "../../plan/plan.ts";
import type { Facts } from "./facts.ts";
import * as names from "./names.ts";

/** Chain → its rules. */
export type Chains = ReadonlyMap<string, readonly string[]>;

/** What one Service puts into the chains that all Services share. */
export interface SharedRules {
  /** nat KUBE-SERVICES */
  readonly services: readonly string[];
  /** nat KUBE-NODEPORTS */
  readonly nodePorts: readonly string[];
  /** filter KUBE-SERVICES: addresses without endpoints, for pods and for the node itself. */
  readonly refused: readonly string[];
  /** filter KUBE-EXTERNAL-SERVICES: frontends for clients outside, without endpoints. */
  readonly externalRefused: readonly string[];
  /** filter KUBE-PROXY-FIREWALL: drops what the nat table left unchanged because its source is not allowed. */
  readonly firewall: readonly string[];
  /** filter KUBE-NODEPORTS: health check ports, open whatever the machine's other rules say. */
  readonly healthChecks: readonly string[];
}

/** All rules of one Service in one family. */
export interface ServiceRules {
  readonly shared: SharedRules;
  /** Its own chains in the nat table. Nobody else has a chain of these names. */
  readonly own: Chains;
}

/** All rules of one family. */
export interface FamilyRules {
  /** The chains that all Services share, and those that no Service is in. */
  readonly filter: Chains;
  readonly nat: Chains;
  readonly services: ReadonlyMap<string, ServiceRules>;
}

export function familyRules(services: ReadonlyMap<string, ServiceRules>, facts: Facts): FamilyRules {
  const all = [...services.values()];
  const every = (of: (rules: SharedRules) => readonly string[]) => all.flatMap(({ shared }) => of(shared));
  const fixed = fixedRules(facts);
  return {
    filter: new Map([
      ...fixed.filter,
      [names.SERVICES, every(({ refused }) => refused)],
      [names.EXTERNAL_SERVICES, every(({ externalRefused }) => externalRefused)],
      [names.PROXY_FIREWALL, every(({ firewall }) => firewall)],
      [names.NODEPORTS, every(({ healthChecks }) => healthChecks)],
    ]),
    nat: new Map([
      ...fixed.nat,
      [names.NODEPORTS, every(({ nodePorts }) => nodePorts)],
      // NodePorts come last: an address of a Service may be one of this machine, too.
      [names.SERVICES, [...every((rules) => rules.services), ...toNodePorts(facts)]],
    ]),
    services,
  };
}

const toNodePorts = ({ nodePortTargets }: Facts): string[] =>
  nodePortTargets.map((match) => `${comment("kubernetes service nodeports")} ${match} -j ${names.NODEPORTS}`);

/** The chains whose rules do not depend on any Service. */
export function fixedRules({ mark, fromPods }: Pick<Facts, "mark" | "fromPods">): Pick<FamilyRules, "filter" | "nat"> {
  const masked = `${mark}/${mark}`;
  return {
    filter: new Map([
      [names.CANARY, []],
      [
        names.FORWARD,
        [
          "-m conntrack --ctstate INVALID -j DROP",
          `-m mark --mark ${masked} -j ACCEPT`,
          "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
      ],
    ]),
    nat: new Map([
      [names.CANARY, []],
      [names.MARK_MASQ, [`-j MARK --or-mark ${mark}`]],
      // The mark is taken off before the packet leaves, since an overlay network may send it through here once more.
      [
        names.POSTROUTING,
        [
          `-m mark ! --mark ${masked} -j RETURN`,
          `-j MARK --xor-mark ${mark}`,
          `${comment("kubernetes service traffic requiring SNAT")} -j MASQUERADE --random-fully`,
        ],
      ],
      ...(fromPods.length > 1
        ? [[names.MARK_OUTSIDE, [...fromPods.map((match) => `${match} -j RETURN`), `-j ${names.MARK_MASQ}`]] as const]
        : []),
    ]),
  };
}

/** Undefined where the Service has nothing in this family. */
export function serviceRules(key: string, service: KernelService, facts: Facts): ServiceRules | undefined {
  const ports = service.ports.filter(({ family }) => family === facts.family);
  if (ports.length === 0) return undefined;
  const parts = ports.map((port) => portRules(key, port, facts));
  const every = (of: (rules: SharedRules) => readonly string[]) => parts.flatMap(({ shared }) => of(shared));
  const { healthCheck } = service;
  return {
    shared: {
      services: every(({ services }) => services),
      nodePorts: every(({ nodePorts }) => nodePorts),
      refused: every(({ refused }) => refused),
      externalRefused: every(({ externalRefused }) => externalRefused),
      firewall: every(({ firewall }) => firewall),
      healthChecks:
        healthCheck === undefined
          ? []
          : [`${comment(`${key} health check node port`)} -p tcp -m tcp --dport ${healthCheck.nodePort} -j ACCEPT`],
    },
    own: new Map(parts.flatMap(({ own }) => [...own])),
  };
}

function portRules(key: string, port: KernelPort, facts: Facts): ServiceRules {
  const { clusterIP, internalPolicy, externalPolicy, cluster, local, externalIPs, loadBalancerIPs } = port;
  const protocol = port.protocol.toLowerCase();
  const name = port.name === "" ? key : `${key}:${port.name}`;
  const chains = names.portChains(name, protocol);
  const to = (address: string) => `-d ${address} ${portMatch(protocol, port.port)}`;
  const toNodePort = port.nodePort === undefined ? undefined : portMatch(protocol, port.nodePort);

  const internal = internalPolicy === "Local" ? local : cluster;
  const internalChain = internalPolicy === "Local" ? chains.local : chains.cluster;
  const external = externalPolicy === "Local" ? local : cluster;
  const usable = cluster.length > 0 || local.length > 0;
  const reachable = externalIPs.length > 0 || loadBalancerIPs.length > 0 || toNodePort !== undefined;
  // Under Local without endpoints here, clients of this node still go to the endpoints elsewhere.
  const externalChain = reachable && usable;
  const guarded = externalChain && port.sourceRanges !== undefined && loadBalancerIPs.length > 0;

  const own = new Map<string, string[]>();
  if (externalChain) own.set(chains.external, externalRules(chains, externalPolicy, cluster, local, facts));
  if (guarded) own.set(chains.firewall, firewallRules(chains.external, port, facts));
  const spread = (chain: string, endpoints: readonly KernelEndpoint[]) => {
    if (endpoints.length === 0) return;
    const isInternal = chain === internalChain && internal.length > 0;
    own.set(chain, [
      ...(isInternal ? markInternal(to(clusterIP), facts) : []),
      ...spreadRules(chains, port, endpoints, facts),
    ]);
    for (const endpoint of endpoints)
      own.set(chains.endpoint(socketOf(endpoint)), endpointRules(chains, protocol, endpoint, port, facts));
  };
  if (internalPolicy === "Cluster" || externalChain) spread(chains.cluster, cluster);
  if (internalPolicy === "Local" || (externalChain && externalPolicy === "Local")) spread(chains.local, local);

  const refusal = (match: string) => {
    const [what, verdict] = port.anywhere ? ["no local endpoints", "DROP"] : ["no endpoints", "REJECT"];
    return `${comment(`${name} has ${what}`)} ${match} -j ${verdict}`;
  };
  const externalAddresses = [...externalIPs, ...loadBalancerIPs].map(to);
  const externals = [
    ...externalAddresses,
    ...(toNodePort === undefined ? [] : [`-m addrtype --dst-type LOCAL ${toNodePort}`]),
  ];
  const forward = (what: string, match: string, chain: string) => `${comment(`${name} ${what}`)} ${match} -j ${chain}`;
  return {
    own,
    shared: {
      services: [
        ...(internal.length > 0 ? [forward("cluster IP", to(clusterIP), internalChain)] : []),
        ...(externalChain ? externalIPs.map((ip) => forward("external IP", to(ip), chains.external)) : []),
        ...(externalChain
          ? loadBalancerIPs.map((ip) => forward("loadbalancer IP", to(ip), guarded ? chains.firewall : chains.external))
          : []),
      ],
      nodePorts: externalChain && toNodePort !== undefined ? [forward("node port", toNodePort, chains.external)] : [],
      // The node's own packets pass OUTPUT, where no jump leads to KUBE-EXTERNAL-SERVICES: without these they would leave the node.
      refused: [...(internal.length > 0 ? [] : [to(clusterIP)]), ...(external.length > 0 ? [] : externalAddresses)].map(
        refusal,
      ),
      externalRefused: external.length > 0 ? [] : externals.map(refusal),
      firewall: guarded
        ? loadBalancerIPs.map((ip) =>
            forward("traffic that its source ranges do not allow", `${to(ip)} ${onlyNew}`, "DROP"),
          )
        : [],
      healthChecks: [],
    },
  };
}

/** What is marked here leaves with this node's address, so that the answer comes back through this node. */
function markInternal(match: string, { masqueradeAll, fromPods }: Facts): string[] {
  if (masqueradeAll) return [`${match} -j ${names.MARK_MASQ}`];
  const [pods, ...more] = fromPods;
  if (pods === undefined) return [];
  return more.length === 0 ? [`! ${pods} ${match} -j ${names.MARK_MASQ}`] : [`${match} -j ${names.MARK_OUTSIDE}`];
}

function externalRules(
  chains: names.PortChains,
  policy: KernelPort["externalPolicy"],
  cluster: readonly KernelEndpoint[],
  local: readonly KernelEndpoint[],
  { fromPods }: Facts,
): string[] {
  if (policy === "Cluster") return [`-j ${names.MARK_MASQ}`, `-j ${chains.cluster}`];
  // Pods and this node itself are not "from outside": they may go to any endpoint.
  const inside =
    cluster.length === 0
      ? []
      : [
          ...fromPods.map((match) => `${match} -j ${chains.cluster}`),
          `-m addrtype --src-type LOCAL -j ${names.MARK_MASQ}`,
          `-m addrtype --src-type LOCAL -j ${chains.cluster}`,
        ];
  return [...inside, ...(local.length > 0 ? [`-j ${chains.local}`] : [])];
}

/** What falls through keeps its destination, and KUBE-PROXY-FIREWALL drops it. */
function firewallRules(external: string, port: KernelPort, facts: Facts): string[] {
  const ranges = port.sourceRanges ?? [];
  const includesNode = within(ranges, facts.nodeAddresses).length > 0;
  // Where the balancer's IP is an address of this machine, what the node sends there has that IP as its source as well.
  const allowed = [...ranges, ...(includesNode ? port.loadBalancerIPs : [])];
  return allowed.map((source) => `-s ${source} -j ${external}`);
}

function spreadRules(
  chains: names.PortChains,
  { affinitySeconds, algorithm }: KernelPort,
  endpoints: readonly KernelEndpoint[],
  { recent }: Facts,
): string[] {
  const targets = endpoints.map((endpoint) => chains.endpoint(socketOf(endpoint)));
  const remembered =
    affinitySeconds === undefined || !recent
      ? []
      : targets.map((target) => `-m recent --name ${target} --rcheck --seconds ${affinitySeconds} --reap -j ${target}`);
  return [
    ...remembered,
    ...targets.map((target, index) => {
      const left = targets.length - index;
      if (left === 1) return `-j ${target}`;
      // Each rule sees what those before it have left over, so that all get the same share.
      return algorithm === "rr"
        ? `-m statistic --mode nth --every ${left} --packet 0 -j ${target}`
        : `-m statistic --mode random --probability ${(1 / left).toFixed(10)} -j ${target}`;
    }),
  ];
}

function endpointRules(
  chains: names.PortChains,
  protocol: string,
  endpoint: KernelEndpoint,
  { affinitySeconds }: KernelPort,
  { recent }: Facts,
): string[] {
  const socket = socketOf(endpoint);
  const remember = affinitySeconds === undefined || !recent ? "" : ` -m recent --name ${chains.endpoint(socket)} --set`;
  return [
    // A pod that reaches itself must see another source than its own address, or it would answer itself directly.
    ...(endpoint.local ? [`-s ${endpoint.address} -j ${names.MARK_MASQ}`] : []),
    `-p ${protocol} -m ${protocol}${remember} -j DNAT --to-destination ${socket}`,
  ];
}

/** ipvs mode's jumps to KUBE-PROXY-FIREWALL are of all packets, and connections through ipvs, which nat has not translated, go on. */
const onlyNew = "-m conntrack --ctstate NEW";
const portMatch = (protocol: string, port: number): string => `-p ${protocol} -m ${protocol} --dport ${port}`;
const socketOf = ({ address, port }: KernelEndpoint): string => hostPort(address, port);

/** The kernel takes 255 characters. What Kubernetes lets names be made of passes unchanged. */
const comment = (text: string): string => `-m comment --comment "${text.replaceAll(/[^\w ./:-]/g, "?").slice(0, 255)}"`;
