// Takes away all that this mode, or a kube-proxy in it, has left on the node: servers first, since by device and sets it is told
// whose they are, and sets last, since rules ask them. Where the kernel has no such thing there is nothing to take away.
import { cleanupInput, isOfIpvs } from "../iptables/cleanup.ts";
import * as shared from "../iptables/names.ts";
import { isForbidden, Tools as Iptables } from "../iptables/tools.ts";
import type { Run } from "../kernel/run.ts";
import { parseAddresses, parseSets } from "./listings.ts";
import { ownChains } from "./names.ts";
import { isOurServer } from "./ownership.ts";
import { parseListing } from "./servers.ts";
import { Tools, Unable } from "./tools.ts";

export async function cleanup(run: Run, excludeCIDRs: readonly string[]): Promise<void> {
  const tools = new Tools(run);
  const device = await whereThereIsOne(() => tools.addresses());
  const sets = parseSets((await whereThereIsOne(() => tools.sets())) ?? "");
  // To ask ipvs would load it.
  if (device !== undefined || sets.existing.size > 0) {
    const isOurs = isOurServer(parseAddresses(device ?? ""), sets.entries, excludeCIDRs);
    const listed = parseListing((await whereThereIsOne(() => tools.servers())) ?? "");
    const ours = [...listed.keys()].filter(isOurs);
    if (ours.length > 0) await must(tools.changeServers(ours.map((key) => `-D ${key}`)));
  }
  if (device !== undefined) await tools.removeDevice();
  for (const family of ["IPv4", "IPv6"] as const) await removeChains(new Iptables(family, run));
  if (sets.existing.size > 0) await must(tools.changeSets([...sets.existing].map((set) => `destroy ${set}`)));
}

/** Undefined where kernel or machine lack what is asked for. What we may not see may be there, and that rejects. */
async function whereThereIsOne<Found>(ask: () => Promise<Found>): Promise<Found | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Unable && !isForbidden(error.message)) return undefined;
    throw error;
  }
}

async function removeChains(iptables: Iptables): Promise<void> {
  for (const { save, restore } of iptables.flavours()) {
    const saved = await save();
    if (saved.code !== 0 && !isForbidden(saved.stderr)) continue;
    const withShared = isOfIpvs(saved.stdout);
    const isOurs = (_: string, chain: string) => ownChains.has(chain) || (withShared && shared.isOurs(chain));
    const input = saved.code === 0 ? cleanupInput(saved.stdout, isOurs) : "";
    const ran = saved.code === 0 && input !== "" ? await restore(input) : saved;
    if (ran.code !== 0) throw new Error(iptables.unable(ran) ?? `iptables refused to remove chains: ${ran.stderr}`);
  }
}

async function must(ran: ReturnType<Run>): Promise<void> {
  const { code, stderr } = await ran;
  if (code !== 0) throw new Error(stderr.trim());
}
