// UDP flows that the kernel would carry on to where no endpoint serves any more. A UDP client keeps its source port, so the kernel
// keeps its NAT entry, and rules that changed do not concern it. Here is decided which entries must go, and conntrack is run to
// remove them. TCP and SCTP end by themselves and are never touched. An entry that leads to an endpoint which still serves stays,
// whatever policies and hints say, and so a restart of the agent cuts nothing.
import { setImmediate as turn } from "node:timers/promises";
import type { Family } from "../../plan/endpoints.ts";
import type { ForwardingPlan, KernelPort } from "../../plan/plan.ts";
import { inParallel } from "../../../src/shared/in-parallel.ts";
import { canonicalAddress, ofFamily } from "../../../src/shared/net/ranges.ts";
import type { Run } from "./run.ts";

/** What matters of an entry: whom the client asked, and who answers. Addresses in canonical form. */
export interface Flow {
  readonly address: string;
  readonly port: number;
  readonly answeredBy: string;
  readonly answeredPort: number;
}

/** One for each family that was looked at. */
export interface Cleaned {
  readonly family: Family;
  readonly deleted: number;
  /** What went wrong, in words; entries may be left then. */
  readonly problem?: string;
}

/** The client's packets, then the answers to them. Whatever stands between is flags. */
const ENTRY = /^udp .*? dst=(\S+) sport=\d+ dport=(\d+) .*?src=(\S+) dst=\S+ sport=(\d+) dport=\d+/gm;

/** Only ports of UDP, of both families. */
export function udpPorts({ services }: ForwardingPlan): readonly KernelPort[] {
  const found: KernelPort[] = [];
  for (const { kernel } of services)
    for (const port of kernel?.ports ?? []) if (port.protocol === "UDP") found.push(port);
  return found;
}

/**
 * Removes the entries of these families that `now`, which the kernel does already, has made wrong. `before`: what the kernel did until then.
 * `nodeAddresses`: where NodePorts are served.
 */
export async function cleanFlows(
  run: Run,
  families: readonly Family[],
  before: readonly KernelPort[],
  now: readonly KernelPort[],
  nodeAddresses: readonly string[],
): Promise<readonly Cleaned[]> {
  return await Promise.all(
    families.map(async (family): Promise<Cleaned> => {
      const options = ["-f", family === "IPv4" ? "ipv4" : "ipv6", "-p", "udp"];
      // A list that was interrupted has a part of the entries, and that part counts.
      const listed = await run("conntrack", ["-L", ...options]);
      const stale = await staleOf(listed.stdout, before, now, nodeAddresses);
      const removed: Removed[] = [];
      await inParallel(AT_ONCE, stale, async (flow) => void removed.push(await remove(run, options, flow)));
      const problems = removed.flatMap(({ problem }) => problem ?? []);
      const problem = listed.code === 0 ? problems[0] : listed.stderr.trim();
      const deleted = removed.reduce((sum, each) => sum + each.deleted, 0);
      return { family, deleted, ...(problem === undefined ? {} : { problem }) };
    }),
  );
}

/** Each once, for one run of conntrack removes all entries that are alike. */
async function staleOf(listed: string, ...world: Parameters<typeof staleFlows>): Promise<readonly Flow[]> {
  const stale = staleFlows(...world);
  const found = new Map<string, Flow>();
  for (let at = 0; at < listed.length; ) {
    const end = listed.indexOf("\n", at + PIECE) + 1 || listed.length;
    for (const flow of parseFlows(listed.slice(at, end), stale.ports))
      if (stale.has(flow)) found.set(JSON.stringify(flow), flow);
    at = end;
    await turn();
  }
  return [...found.values()];
}

/** So many characters of a list are looked at before others have their turn: a busy node has half a million entries of 160. */
const PIECE = 1 << 18;

/** Processes, for each family: a node that lost many endpoints at once has hundreds to start. */
const AT_ONCE = 4;
interface Removed {
  readonly deleted: number;
  readonly problem?: string;
}

/** How often it is tried again, where entries end by themselves all the time. */
const TRIES = 10;

/** All entries like this one. */
async function remove(
  run: Run,
  options: readonly string[],
  { address, port, answeredBy, answeredPort }: Flow,
): Promise<Removed> {
  const asked = ["--orig-dst", address, "--orig-port-dst", String(port)];
  const answered = ["--reply-src", answeredBy, "--reply-port-src", String(answeredPort)];
  let deleted = 0;
  for (let tries = 1; ; tries++) {
    const { code, stdout, stderr } = await run("conntrack", ["-D", ...options, ...asked, ...answered]);
    deleted += parseFlows(stdout).length;
    // It also fails where all entries have ended by themselves meanwhile.
    if (code === 0 || stderr.includes("0 flow entries")) return { deleted };
    // One ended between being found and being removed. There conntrack stops, and others may be left.
    const again = stderr.includes("such conntrack doesn't exist") && tries < TRIES;
    if (!again) return { deleted, problem: stderr.trim() };
  }
}

/**
 * Of `conntrack -L -p udp`: "udp 17 59 src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… sport=… dport=… mark=0 use=1". `ports`:
 * only those whose client asked one of these.
 */
export function parseFlows(text: string, ports?: ReadonlySet<number>): readonly Flow[] {
  const flows: Flow[] = [];
  // The same few addresses stand in most entries.
  const known = new Map<string, string>();
  const canonical = (address: string): string => {
    const found = known.get(address) ?? canonicalAddress(address) ?? address;
    known.set(address, found);
    return found;
  };
  for (const [, address = "", port, answeredBy = "", answeredPort] of text.matchAll(ENTRY))
    if (ports?.has(Number(port)) !== false)
      flows.push({
        ...{ address: canonical(address), port: Number(port) },
        ...{ answeredBy: canonical(answeredBy), answeredPort: Number(answeredPort) },
      });
  return flows;
}

/** Families in which a UDP port came, went, or has other frontends or other serving endpoints. */
export function changedFamilies(before: readonly KernelPort[], now: readonly KernelPort[]): readonly Family[] {
  // Most are the same objects as before, and need not be looked at.
  const [old, next] = [new Set(before), new Set(now)];
  const gone = before.filter((port) => !next.has(port));
  const come = now.filter((port) => !old.has(port));
  const of = (ports: readonly KernelPort[], family: Family) =>
    ports
      .filter((port) => port.family === family)
      .map((port) => JSON.stringify([frontends(port, []), port.nodePort, [...(port.serving ?? [])].sort()]))
      .sort();
  return (["IPv4", "IPv6"] as const).filter(
    (family) => JSON.stringify(of(gone, family)) !== JSON.stringify(of(come, family)),
  );
}

/** Which flows must go. `ports`: those whose client asked another port stay. */
export function staleFlows(
  before: readonly KernelPort[],
  now: readonly KernelPort[],
  nodeAddresses: readonly string[],
): { readonly ports: ReadonlySet<number>; readonly has: (flow: Flow) => boolean } {
  const serving = new Map<string, Set<string>>();
  const nodePorts = new Set<string>();
  for (const port of now) {
    for (const frontend of frontends(port, nodeAddresses)) {
      const known = serving.get(frontend) ?? new Set();
      for (const endpoint of port.serving ?? []) known.add(endpoint);
      serving.set(frontend, known);
    }
    for (const frontend of nodePortsOf(port, nodeAddresses)) nodePorts.add(frontend);
  }
  const former = new Set(before.flatMap((port) => frontends(port, nodeAddresses)));
  return {
    ports: new Set([...before, ...now].flatMap(({ port, nodePort }) => [port, nodePort ?? port])),
    has: ({ address, port, answeredBy, answeredPort }) => {
      const frontend = `${address} ${port}`;
      const answers = `${answeredBy} ${answeredPort}`;
      const translated = frontend !== answers;
      const endpoints = serving.get(frontend);
      // Of a frontend that is gone only what we had translated is ours: a program of the node may have the port now.
      if (endpoints === undefined) return translated && former.has(frontend);
      // The same holds for a NodePort that leads nowhere. Once it leads somewhere, the flow must be translated.
      if (!translated && endpoints.size === 0 && nodePorts.has(frontend)) return false;
      return !endpoints.has(answers);
    },
  };
}

/** "address port" of each. */
const frontends = (port: KernelPort, nodeAddresses: readonly string[]): string[] => [
  ...[port.clusterIP, ...port.externalIPs, ...port.loadBalancerIPs].map((address) => `${address} ${port.port}`),
  ...nodePortsOf(port, nodeAddresses),
];

const nodePortsOf = ({ nodePort, family }: KernelPort, nodeAddresses: readonly string[]): string[] =>
  nodePort === undefined ? [] : ofFamily(nodeAddresses, family).map((address) => `${address} ${nodePort}`);
