// The table as it is without Services: sets, maps, chains and rules, as text for nft. Pure. Their number does not grow with the
// number of Services; what each of them adds is elements (elements.ts). README.md explains the layout and its reasons.
import { wantedNodePortAddresses } from "../kernel/node-port-addresses.ts";
import type { KernelSettings, LocalDetector } from "../kernel/settings.ts";

export type NftFamily = "ip" | "ip6";
export const TABLE = "postern";

/** Sets and maps whose elements are ours to write: name → its definition. */
export function writtenSets(family: NftFamily): ReadonlyMap<string, string> {
  const address = family === "ip" ? "ipv4_addr" : "ipv6_addr";
  const frontend = `${address} . inet_proto . inet_service`;
  const slot = (protocol: string) =>
    `typeof meta priority . numgen random mod 65536 : ${family} daddr . ${protocol} dport;`;
  const endpoint = (protocol: string) => `typeof meta priority : ${family} daddr . ${protocol} dport;`;
  return new Map([
    [`set ${STAMP}`, "type inet_service;"],
    ["set cluster-ips", `type ${address};`],
    ["set node-port-addresses", `type ${address}; flags interval;`],
    ["set local-pods", `type ${address}; flags interval;`],
    // Every address where local-pods has any, else none.
    ["set pods-known", `type ${address}; flags interval;`],
    ["set service-cidrs", `type ${address}; flags interval;`],
    ["map frontends", `typeof ${family} daddr . meta l4proto . th dport : meta priority;`],
    ["map node-port-frontends", "typeof meta l4proto . th dport : meta priority;"],
    ["map balance", "typeof meta priority : verdict;"],
    ...["tcp", "udp", "sctp"].map((l4) => [`map slots-${l4}`, slot(l4)] as const),
    ["map affine-ports", "typeof meta priority : meta priority;"],
    ["map affine-balance", "typeof meta priority : verdict;"],
    ["map affine-slots", "typeof meta priority . numgen random mod 65536 : meta priority;"],
    ["map affine-endpoints", "typeof meta priority : verdict;"],
    ...["tcp", "udp", "sctp"].map((l4) => [`map affine-${l4}`, endpoint(l4)] as const),
    ["set hairpin", `type ${address} . ${address};`],
    ["set refused", `type ${frontend};`],
    ["set dropped", `type ${frontend};`],
    ["set node-port-refused", "type inet_proto . inet_service;"],
    ["set node-port-dropped", "type inet_proto . inet_service;"],
    ["set ranged", `type ${frontend};`],
    ["set ranges", `type ${frontend} . ${address}; flags interval;`],
  ]);
}

/** Which endpoint a client has, by Service port and client. The kernel alone writes it, and it outlives a full sync. */
export const affinityMap = (family: NftFamily): string =>
  `typeof meta priority . ${family === "ip" ? "ip saddr" : "numgen random mod 65536"} : meta priority; flags dynamic,timeout; size 1048576; timeout 3h;`;

/** A client in the affinity map. nft 1.0.6 aborts where such a key is longer than 16 bytes, so of IPv6 it is a hash. */
export const affineClient = (family: NftFamily): string =>
  family === "ip" ? "ip saddr" : `jhash ip6 saddr mod 4294967295 seed ${HASH_SEED}`;

/** Any constant. Without one the kernel takes a random seed, and nodes and syncs would differ. */
export const HASH_SEED = "0x706f7374";

/** What says which rules and elements the table has: one element, with a digest of them as its comment. */
export const STAMP = "stamp";

/** Chains that one rule of a hook leads to, and nothing else. */
export const HOOKED = [
  ...["services-prerouting", "services-output", "source-ranges-prerouting", "source-ranges-output"],
  ...["unserved-input", "unserved-forward", "unserved-output", "masquerading"],
] as const;
const hooks = ["prerouting", "output"] as const;

export interface Chain {
  readonly name: string;
  /** "type nat hook output priority -100"; absent for one that others jump to. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/** In an order in which each chain leads to chains before it. */
export function chains(family: NftFamily, settings: KernelSettings): readonly Chain[] {
  const mark = `0x${(2 ** settings.masqueradeBit).toString(16)}`;
  const others = `0x${(0xffffffff - 2 ** settings.masqueradeBit).toString(16)}`;
  const setMark = `meta mark set meta mark or ${mark}`;
  const fromPod = localTraffic(family, settings.localDetector);
  const toPort = `${family} daddr . meta l4proto . th dport`;
  const toNodePort = nodePortMatch(family, settings);
  const dnat = (l4: string) => `meta l4proto ${l4} dnat ${family} addr . port to meta priority map @affine-${l4}`;
  const filter = (hook: string, priority: number) => `type filter hook ${hook} priority ${priority}`;
  const isNew = "ct state new";
  return [
    // ---- from a Service port's number to an endpoint
    { name: "affine-dnat", rules: ["tcp", "udp", "sctp"].map(dnat) },
    {
      name: "affine",
      rules: [
        "meta priority set meta priority map @affine-ports",
        // The endpoint that the client has, where it has one. One that is gone is in no map, and the next lines choose anew.
        `meta priority set meta priority . ${affineClient(family)} map @affinity`,
        "meta priority vmap @affine-endpoints",
        "meta priority set meta priority & 0xfffff000",
        `delete @affinity { meta priority . ${affineClient(family)} : meta priority }`,
        "meta priority vmap @affine-balance",
      ],
    },
    // ---- what a frontend's traffic may use
    {
      name: "internal-cluster",
      rules: ["meta priority set meta priority & 0xfffffff0", "meta priority vmap @balance"],
    },
    {
      name: "internal-local",
      rules: [
        "meta priority set meta priority & 0xfffffff0",
        "meta priority set meta priority or 0x8",
        "meta priority vmap @balance",
      ],
    },
    { name: "external-cluster", rules: [setMark, "goto internal-cluster"] },
    {
      name: "external-local",
      rules: [
        ...(fromPod === undefined ? [] : [`${fromPod.yes} goto internal-cluster`]),
        "fib saddr type local goto external-cluster",
        "goto internal-local",
      ],
    },
    {
      name: "frontend",
      rules: [
        "meta priority & 0x7 vmap { 0 : goto internal-cluster, 1 : goto internal-local, 2 : goto external-cluster, 3 : goto external-local }",
      ],
    },
    // ---- what the hooks do. Each has its own copies, so that a flushed hook is found (probe.ts).
    ...hooks.map(
      (hook): Chain => ({
        name: `services-${hook}`,
        rules: [
          ...(settings.masqueradeAll
            ? [`${family} daddr @cluster-ips ${setMark}`]
            : fromPod === undefined
              ? []
              : [`${family} daddr @cluster-ips ${fromPod.no} ${setMark}`]),
          `meta priority set ${toPort} map @frontends goto frontend`,
          `${toNodePort} meta priority set meta l4proto . th dport map @node-port-frontends goto frontend`,
        ],
      }),
    ),
    ...hooks.map(
      (hook): Chain => ({
        name: `source-ranges-${hook}`,
        rules: [`${toPort} @ranged ${toPort} . ${family} saddr != @ranges drop`],
      }),
    ),
    // A TCP client is told at once: the kernel limits how many ICMP errors it sends.
    { name: "refuse", rules: ["meta l4proto tcp reject with tcp reset", "reject"] },
    {
      name: "unserved-input",
      rules: [
        `${toNodePort} meta l4proto . th dport @node-port-dropped drop`,
        `${toNodePort} meta l4proto . th dport @node-port-refused goto refuse`,
        `${toPort} @dropped drop`,
        `${toPort} @refused goto refuse`,
      ],
    },
    ...["forward", "output"].map(
      (hook): Chain => ({
        name: `unserved-${hook}`,
        rules: [
          `${toPort} @dropped drop`,
          `${toPort} @refused goto refuse`,
          `${family} daddr @cluster-ips goto refuse`,
          `${family} daddr @service-cidrs drop`,
        ],
      }),
    ),
    {
      name: "masquerading",
      rules: [
        // Our numbers mean nothing to a queueing discipline.
        "meta priority >= 0xe0000000 meta priority set 0",
        // Only our bit is cleared, and before the masquerade: a packet that comes by again is not masqueraded twice.
        `meta mark & ${mark} != 0 meta mark set meta mark & ${others} masquerade fully-random`,
        `ct status dnat ${family} saddr . ${family} daddr @hairpin masquerade fully-random`,
      ],
    },
    // ---- where the kernel comes by
    {
      name: "before-nat-prerouting",
      hook: filter("prerouting", -110),
      rules: [`${isNew} jump source-ranges-prerouting`],
    },
    { name: "before-nat-output", hook: filter("output", -110), rules: [`${isNew} jump source-ranges-output`] },
    { name: "input", hook: filter("input", 0), rules: [`${isNew} jump unserved-input`] },
    { name: "forward", hook: filter("forward", 0), rules: [`${isNew} jump unserved-forward`] },
    { name: "output", hook: filter("output", 0), rules: [`${isNew} jump unserved-output`] },
    { name: "nat-prerouting", hook: "type nat hook prerouting priority -100", rules: ["jump services-prerouting"] },
    { name: "nat-output", hook: "type nat hook output priority -100", rules: ["jump services-output"] },
    { name: "nat-postrouting", hook: "type nat hook postrouting priority 100", rules: ["jump masquerading"] },
  ];
}

/**
 * How to match traffic that comes from this node's pods, and all other traffic. Undefined where it cannot be told. Nor can it be told
 * while no range of the family is known, and then neither matches.
 */
function localTraffic(
  family: NftFamily,
  detector: LocalDetector,
): { readonly yes: string; readonly no: string } | undefined {
  switch (detector.kind) {
    case "cluster-cidr":
    case "node-cidr":
      return { yes: `${family} saddr @local-pods`, no: `${family} saddr @pods-known ${family} saddr != @local-pods` };
    case "interface":
      return { yes: `iifname "${detector.name}"`, no: `iifname != "${detector.name}"` };
    case "interface-prefix":
      return { yes: `iifname "${detector.prefix}*"`, no: `iifname != "${detector.prefix}*"` };
    default:
      return undefined;
  }
}

/** A node's own addresses serve NodePorts, all of them but loopback, or those that were chosen. */
function nodePortMatch(family: NftFamily, settings: KernelSettings): string {
  const wanted = wantedNodePortAddresses(family === "ip" ? "IPv4" : "IPv6", settings);
  if (wanted !== "all") return `${family} daddr @node-port-addresses`;
  return `fib daddr type local ${family} daddr != ${family === "ip" ? "127.0.0.0/8" : "::1"}`;
}
