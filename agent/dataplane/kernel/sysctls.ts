// What the kernel must be told once before it forwards: room and times for connections, forwarding itself, and whether loopback
// addresses may be routed. Never lowers a limit that somebody raised, and writes nothing that is set already. What cannot be set
// (a read-only /proc/sys, a container without the rights) is said with the command that sets it, and stops nothing: the node may
// have it from elsewhere.
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism, release } from "node:os";
import type { Family } from "../../plan/endpoints.ts";
import { isAtLeast } from "./mode.ts";
import type { KernelSettings } from "./settings.ts";

/** 0 (or false): as the kernel has it. */
export interface ConntrackSettings {
  readonly maxPerCore: number;
  readonly min: number;
  readonly tcpEstablishedSeconds: number;
  readonly tcpCloseWaitSeconds: number;
  readonly tcpBeLiberal: boolean;
  readonly udpSeconds: number;
  readonly udpStreamSeconds: number;
}

export interface Sysctl {
  /** A file of /proc/sys or /sys. */
  readonly path: string;
  readonly value: number;
  /** True: a greater value is as good. */
  readonly atLeast: boolean;
  /** For what it is needed, in words. */
  readonly why: string;
  /** Only say that it is wrong: to set it has effects that its owner must want. */
  readonly sayOnly?: boolean;
}

/** More entries than that cost memory that a node may not have. */
const CONNTRACK_MAX = 1_048_576;

/** Pure. `families`: those that Services use. */
export function wantedSysctls(
  { mode, localhostNodePorts, nodePortAddresses, ipvs }: KernelSettings,
  conntrack: ConntrackSettings,
  families: readonly Family[],
  cores: number,
  kernel = release(),
): readonly Sysctl[] {
  const exactly = (path: string, value: number, why: string): Sysctl[] =>
    value === 0 ? [] : [{ path: `/proc/sys/${path}`, value, why, atLeast: false }];
  const netfilter = (name: string, value: number, why: string) =>
    exactly(`net/netfilter/nf_conntrack_${name}`, value, why);
  const entries =
    conntrack.maxPerCore === 0 ? 0 : Math.min(CONNTRACK_MAX, Math.max(conntrack.min, conntrack.maxPerCore * cores));
  const room: Sysctl[] =
    entries === 0
      ? []
      : [
          // The table first: with too few buckets each look-up walks a long list.
          {
            path: "/sys/module/nf_conntrack/parameters/hashsize",
            ...{ value: Math.ceil(entries / 4), atLeast: true, why: "connections are found fast" },
          },
          {
            path: "/proc/sys/net/netfilter/nf_conntrack_max",
            ...{ value: entries, atLeast: true, why: "there is room for connections" },
          },
        ];
  const atLocalhost =
    nodePortAddresses.length === 0 ||
    nodePortAddresses.some((each) => /^(all|localhost|127\.|0\.0\.0\.0\/0)/.test(each));
  return [
    ...room,
    ...netfilter("tcp_timeout_established", conntrack.tcpEstablishedSeconds, "idle connections are kept"),
    ...netfilter("tcp_timeout_close_wait", conntrack.tcpCloseWaitSeconds, "half-closed connections are kept"),
    ...netfilter("tcp_be_liberal", conntrack.tcpBeLiberal ? 1 : 0, "packets out of the window pass"),
    ...netfilter("udp_timeout", conntrack.udpSeconds, "UDP flows are kept"),
    ...netfilter("udp_timeout_stream", conntrack.udpStreamSeconds, "UDP flows are kept"),
    ...(families.includes("IPv4") ? exactly("net/ipv4/ip_forward", 1, "traffic reaches pods of other nodes") : []),
    // With it an interface ignores router advertisements, and a node that has its address from them goes off the network.
    ...(families.includes("IPv6")
      ? exactly("net/ipv6/conf/all/forwarding", 1, "traffic reaches pods of other nodes by IPv6").map((each) => ({
          ...each,
          sayOnly: true,
        }))
      : []),
    ...(mode === "iptables" && localhostNodePorts && atLocalhost && families.includes("IPv4")
      ? exactly("net/ipv4/conf/all/route_localnet", 1, "NodePorts answer at 127.0.0.1")
      : []),
    ...(mode === "ipvs" ? ofIpvs(ipvs, kernel) : []),
  ];
}

/** Those of ipvs are for both families. */
function ofIpvs({ strictARP }: KernelSettings["ipvs"], kernel: string): Sysctl[] {
  const exactly = (name: string, value: number, why: string): Sysctl => ({
    ...{ path: `/proc/sys/net/ipv4/${name}`, value, why, atLeast: false },
  });
  return [
    exactly("vs/conntrack", 1, "what ipvs forwards can be masqueraded"),
    exactly("vs/expire_nodest_conn", 1, "clients of an endpoint that is gone get another one"),
    exactly("vs/expire_quiescent_template", 1, "affinity to an endpoint that drains ends"),
    // From 4.1 to 5.8 ipvs drops the first packet of a client that uses its port again, unless this is 0.
    ...(isAtLeast(kernel, [4, 1, 0]) && !isAtLeast(kernel, [5, 9, 0])
      ? [exactly("vs/conn_reuse_mode", 0, "clients that use a port again are answered at once")]
      : []),
    ...(strictARP
      ? [
          exactly("conf/all/arp_ignore", 1, "nobody but a balancer's speaker answers for addresses of Services"),
          exactly("conf/all/arp_announce", 2, "nobody but a balancer's speaker answers for addresses of Services"),
        ]
      : []),
  ];
}

export interface SysctlFiles {
  /** Rejects where the file cannot be read. */
  readonly read: (path: string) => Promise<string>;
  readonly write: (path: string, text: string) => Promise<void>;
}

const files: SysctlFiles = {
  read: (path) => readFile(path, "utf8"),
  // Without O_CREAT and O_TRUNC, which such files do not know.
  write: (path, text) => writeFile(path, text, { flag: "r+" }),
};

/** Sets what is not set. Returns what could not be: for the log, each with the command that sets it. */
export async function applySysctls(wanted: readonly Sysctl[], { read, write } = files): Promise<readonly string[]> {
  const said: string[] = [];
  for (const { path, value, atLeast, why, sayOnly = false } of wanted) {
    const reads = async () => Number((await read(path)).trim());
    let trouble: string;
    try {
      const now = await reads();
      if (now === value || (atLeast && now > value)) continue;
      trouble = `is ${now}`;
      if (!sayOnly) {
        await write(path, String(value));
        const set = await reads();
        if (set === value || (atLeast && set > value)) continue;
      }
    } catch (error) {
      trouble = `cannot be set (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
    }
    said.push(
      `${path} ${trouble}, and should be ${value} so that ${why}. On the node, as root: ${commandFor(path, value)}`,
    );
  }
  return said;
}

export const cores = availableParallelism;

function commandFor(path: string, value: number): string {
  const name = /^\/proc\/sys\/(.*)$/.exec(path)?.[1]?.replaceAll("/", ".");
  const module = path.includes("nf_conntrack") ? "nf_conntrack" : path.includes("/ipv4/vs/") ? "ip_vs" : undefined;
  const loaded = module === undefined ? "" : `modprobe ${module} && `;
  const remark =
    name === "net.ipv6.conf.all.forwarding" ? " (and accept_ra=2 for interfaces that need router advertisements)" : "";
  return name === undefined ? `${loaded}echo ${value} > ${path}` : `${loaded}sysctl -w ${name}=${value}${remark}`;
}
