// One Service port → what it adds to the sets and maps of layout.ts, as text. Pure. README.md explains the layout.
// Numbers of 32 bits stand in the packet's priority while the nat chains look at its first packet:
//   0xe.......  a Service port: 24 bits of id, then VARIANT_LOCAL, then 3 bits of Frontend
//   0xf.......  an endpoint of a Service port with affinity: 16 bits for the port, 12 for the endpoint
import { asRange, compileRanges } from "../../../src/shared/net/ranges.ts";
import type { KernelEndpoint, KernelNode, KernelPort } from "../../plan/plan.ts";
import type { Element } from "../kernel/claims.ts";
import { affineClient, HASH_SEED, type NftFamily } from "./layout.ts";
import { type Choice, slotsOf } from "./slots.ts";

/** What a frontend's traffic may use, and whether it is masqueraded: the last bits of a value in `frontends`. */
const FRONTEND = { internalCluster: 0, internalLocal: 1, externalCluster: 2, externalLocal: 3 } as const;
export const VARIANT_LOCAL = 8;
export const PORT_IDS = 1 << 24;
export const AFFINE_IDS = 1 << 16;
export const ENDPOINT_IDS = 1 << 12;

/** The numbers of one Service port. The caller keeps them from sync to sync. */
export interface Numbers {
  readonly port: number;
  /** Of a port whose clients are remembered. */
  readonly affine?: {
    readonly cluster: number;
    readonly local: number;
    /** The endpoint's own number, by "address port". */
    readonly endpoints: ReadonlyMap<string, number>;
  };
}

export interface Elements {
  /** Whose keys nobody else can have. */
  readonly own: readonly Element[];
  /** Which other Service ports may ask for as well. */
  readonly shared: readonly Element[];
  /** Chains that `own` leads to: name → its rules. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

export interface ElementOptions {
  readonly numbers: Numbers;
  readonly node: KernelNode;
  /** "namespace/name:port" */
  readonly name: string;
  readonly family: NftFamily;
}

/** nft refuses more than 128 bytes, and the whole transaction with it. */
const COMMENT_MAX = 120;

export function elementsOf(port: KernelPort, options: ElementOptions): Elements {
  const out = { own: [] as Element[], shared: [] as Element[], chains: new Map<string, readonly string[]>() };
  const { internalPolicy, externalPolicy, cluster, local } = port;
  balance(out, port, cluster, "cluster", options);
  if (internalPolicy === "Local" || externalPolicy === "Local") balance(out, port, local, "local", options);
  frontends(out, port, options);
  const here = [...cluster, ...local].filter((endpoint) => endpoint.local);
  for (const address of new Set(here.map((endpoint) => endpoint.address)))
    out.shared.push({ set: "hairpin", key: `${address} . ${address}` });
  return out;
}

interface Out {
  readonly own: Element[];
  readonly shared: Element[];
  readonly chains: Map<string, readonly string[]>;
}

/** From the Service port's number to one of its endpoints. */
function balance(
  out: Out,
  { protocol, affinitySeconds, algorithm }: KernelPort,
  endpoints: readonly KernelEndpoint[],
  variant: "cluster" | "local",
  { numbers, family }: ElementOptions,
): void {
  if (endpoints.length === 0) return;
  const l4 = protocol.toLowerCase();
  const id = portNumber(numbers, variant);
  const { choice, slots } = slotsOf(endpoints, algorithm);
  const { affine } = numbers;
  if (affinitySeconds === undefined || affine === undefined) {
    const chain = choice === "rr" ? `rr-${id}-${slots.length}-${l4}` : `${choice}-${slots.length}-${l4}`;
    out.chains.set(chain, [
      `meta l4proto ${l4} dnat ${family} addr . port to meta priority . ${chosen(choice, slots.length, family)} map @slots-${l4}`,
    ]);
    out.own.push({ set: "balance", key: id, value: `goto ${chain}` });
    slots.forEach((index, slot) => {
      const { address, port } = endpoints[index] as KernelEndpoint;
      out.own.push({ set: `slots-${l4}`, key: `${id} . ${slot}`, value: `${address} . ${port}` });
    });
    return;
  }
  // The first connection of a client takes a slot at random; the endpoint's number is then remembered for the client.
  const base = (0xf0000000 | (affine[variant] << 12)) >>> 0;
  const remember = `affine-remember-${affinitySeconds}`;
  out.chains.set(remember, [
    `update @affinity { meta priority & 0xfffff000 . ${affineClient(family)} timeout ${affinitySeconds}s : meta priority }`,
    "goto affine-dnat",
  ]);
  out.chains.set(`affine-${slots.length}`, [
    `meta priority set meta priority . numgen random mod ${slots.length} map @affine-slots`,
    "meta priority vmap @affine-endpoints",
  ]);
  out.own.push({ set: "balance", key: id, value: "goto affine" });
  out.own.push({ set: "affine-ports", key: id, value: hex(base) });
  out.own.push({ set: "affine-balance", key: hex(base), value: `goto affine-${slots.length}` });
  const own = endpoints.map(({ address, port }) => hex(base | (affine.endpoints.get(`${address} ${port}`) ?? 0)));
  endpoints.forEach(({ address, port }, index) => {
    const key = own[index] ?? "";
    out.own.push({ set: "affine-endpoints", key, value: `goto ${remember}` });
    out.own.push({ set: `affine-${l4}`, key, value: `${address} . ${port}` });
  });
  slots.forEach((index, slot) =>
    out.own.push({ set: "affine-slots", key: `${hex(base)} . ${slot}`, value: own[index] ?? "" }),
  );
}

function chosen(choice: Choice, slots: number, family: NftFamily): string {
  if (choice === "source") return `jhash ${family} saddr mod ${slots} seed ${HASH_SEED}`;
  return `numgen ${choice === "rr" ? "inc" : "random"} mod ${slots}`;
}

/** Who is asked for the Service port, and what becomes of traffic that no endpoint may have. */
function frontends(out: Out, port: KernelPort, options: ElementOptions): void {
  const { clusterIP, externalIPs, loadBalancerIPs, nodePort, internalPolicy, externalPolicy, cluster, local } = port;
  const { numbers, name, node } = options;
  const l4 = port.protocol.toLowerCase();
  const comment = name.slice(0, COMMENT_MAX);
  const add = (address: string | undefined, number: number, kind: number, verdict: Verdict, served: boolean): void => {
    const key = address === undefined ? `${l4} . ${number}` : `${address} . ${l4} . ${number}`;
    const sets = address === undefined ? nodePortSets : addressSets;
    const value = hex((Number(portNumber(numbers, "cluster")) | kind) >>> 0);
    if (served) out.shared.push({ set: sets.served, key, value, comment });
    if (verdict !== undefined) out.shared.push({ set: sets[verdict], key });
  };
  out.shared.push({ set: "cluster-ips", key: clusterIP });
  const internal = internalPolicy === "Local" ? local : cluster;
  const kind = internalPolicy === "Local" ? FRONTEND.internalLocal : FRONTEND.internalCluster;
  add(clusterIP, port.port, kind, verdictOf(internal, port), internal.length > 0);
  const isLocal = externalPolicy === "Local";
  const external = isLocal ? local : cluster;
  // Under Local, traffic of this node and its pods goes to all endpoints, so the frontend is served without a local one as well.
  const from = [
    isLocal ? FRONTEND.externalLocal : FRONTEND.externalCluster,
    verdictOf(external, port),
    external.length > 0 || cluster.length > 0,
  ] as const;
  for (const address of new Set([...externalIPs, ...loadBalancerIPs])) add(address, port.port, ...from);
  if (nodePort !== undefined) add(undefined, nodePort, ...from);
  if (port.sourceRanges === undefined) return;
  for (const address of loadBalancerIPs) {
    const key = `${address} . ${l4} . ${port.port}`;
    out.shared.push({ set: "ranged", key });
    for (const range of withOwn(port.sourceRanges, address, node))
      out.shared.push({ set: "ranges", key: `${key} . ${range}` });
  }
}

type Verdict = "refused" | "dropped" | undefined;
const addressSets = { served: "frontends", refused: "refused", dropped: "dropped" } as const;
const nodePortSets = {
  served: "node-port-frontends",
  refused: "node-port-refused",
  dropped: "node-port-dropped",
} as const;

const verdictOf = (endpoints: readonly KernelEndpoint[], { anywhere }: KernelPort): Verdict =>
  endpoints.length > 0 ? undefined : anywhere ? "dropped" : "refused";

/** A node that asks a load balancer's address has that address as its source, so it is let in where the node is. */
function withOwn(ranges: readonly string[], address: string, { addresses }: KernelNode): readonly string[] {
  const allowed = compileRanges(ranges);
  if (allowed === undefined || allowed.include(address) || !addresses.some(allowed.include)) return ranges;
  return [...ranges, asRange(address)];
}

const hex = (number: number): string => `0x${(number >>> 0).toString(16)}`;

const portNumber = ({ port }: Numbers, variant: "cluster" | "local"): string =>
  hex(0xe0000000 | (port << 4) | (variant === "local" ? VARIANT_LOCAL : 0));
