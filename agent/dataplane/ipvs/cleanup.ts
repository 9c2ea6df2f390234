// Takes away all that this mode, or a kube-proxy in it, has left on the node: servers first, since by device and sets it is told
// whose they are, and sets last, since rules ask them. Where the kernel has no such thing there is nothing to take away.
// A connection through ipvs ends with its server, other than one that was translated by a rule. So a node that goes on in another mode
// leaves servers with connections where they are; nothing new comes to them, since that mode's rules are met before.
import { isOfIpvs } from "../iptables/cleanup.ts";
import * as shared from "../iptables/names.ts";
import { Tools as Iptables } from "../iptables/tools.ts";
import { forEach } from "../kernel/ran.ts";
import type { Run } from "../kernel/run.ts";
import { addresses } from "./kinds.ts";
import { parseAddresses, parseSets } from "./listings.ts";
import { NODE_PORT, ownChains } from "./names.ts";
import { isOurServer } from "./ownership.ts";
import { parseListing, partsOf, type Server } from "./servers.ts";
import { Tools, Unable } from "./tools.ts";

const families = ["IPv4", "IPv6"] as const;

/** Resolves to the number of servers that `leaveOpen` has left, with their addresses and all by which it is told whose they are. */
export async function cleanup(run: Run, excludeCIDRs: readonly string[], leaveOpen: boolean): Promise<number> {
  const tools = new Tools(run);
  const device = await whereThereIsOne(() => tools.addresses());
  const sets = parseSets((await whereThereIsOne(() => tools.sets())) ?? "");
  // To ask ipvs would load it.
  if (device !== undefined || sets.existing.size > 0) {
    const there = parseAddresses(device ?? "");
    const isOurs = isOurServer(there, sets.entries, excludeCIDRs);
    const listed = parseListing((await whereThereIsOne(() => tools.servers())) ?? "");
    const ours = [...listed].filter(([key]) => isOurs(key));
    const isOpen = ([, server]: (typeof ours)[number]) => leaveOpen && hasConnections(server);
    const open = ours.filter(isOpen);
    const gone = ours.filter((each) => !isOpen(each)).map(([key]) => `-D ${key}`);
    if (gone.length > 0) await must(tools.changeServers(gone));
    if (open.length > 0) {
      const used = new Set(open.map(([key]) => partsOf(key).address));
      const unused = [...there.keys()].filter((address) => !used.has(address));
      const lines = unused.flatMap((address) => addresses.lines(address, true, undefined));
      if (lines.length > 0) await must(tools.changeAddresses(lines));
      // What is connected needs no rules of nat. Those of filter keep the node's own servers from answering at what addresses are left.
      await forEach(families, (family) => removeChains(new Iptables(family, run), "nat"));
      return open.length;
    }
  }
  if (device !== undefined) await tools.removeDevice();
  await forEach(families, (family) => removeChains(new Iptables(family, run)));
  if (sets.existing.size > 0) await must(tools.changeSets([...sets.existing].map((set) => `destroy ${set}`)));
  return 0;
}

const hasConnections = ({ destinations }: Server): boolean =>
  [...destinations.values()].some(({ connections }) => connections > 0);

/** Undefined where kernel or machine lack what is asked for. What could not be seen may be there, and that rejects. */
async function whereThereIsOne<Found>(ask: () => Promise<Found>): Promise<Found | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Unable && error.isMissing) return undefined;
    throw error;
  }
}

async function removeChains(iptables: Iptables, only?: "nat"): Promise<void> {
  await iptables.remove((saved) => {
    const withShared = isOfIpvs(saved);
    return (table, chain) =>
      (only ?? table) === table && (ownChains.has(chain) || (withShared && shared.isOurs(chain)));
  }, NODE_PORT);
}

async function must(ran: ReturnType<Run>): Promise<void> {
  const { code, stderr } = await ran;
  if (code !== 0) throw new Error(stderr.trim());
}
