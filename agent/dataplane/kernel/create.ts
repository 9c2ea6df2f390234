// Mode → the executor that programs the kernel in it, and the removal of what other modes, or a kube-proxy, left on a node. The one
// place that knows all three.
import type { EndpointAlgorithm } from "../../../src/shared/model/snapshot.ts";
import type { KernelExecutor } from "../executor.ts";
import { iptablesAlgorithms, iptablesExecutor } from "../iptables/executor.ts";
import { ipvsExecutor } from "../ipvs/executor.ts";
import { ipvsAlgorithms } from "../ipvs/schedulers.ts";
import { deleteTables, nftablesExecutor } from "../nftables/executor.ts";
import { nftablesAlgorithms } from "../nftables/slots.ts";
import type { Run } from "./run.ts";
import { type KernelSettings, type ProxyMode, proxyModes } from "./settings.ts";

/** What an executor needs of the world. */
export interface KernelEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces, as they are now. */
  readonly localAddresses: () => readonly string[];
  /** Milliseconds; the machine's clock if absent. */
  readonly now?: () => number;
}

interface Mode {
  /** Programs without which there is nothing of this mode on the node, and nothing to take away either. */
  readonly tools: readonly string[];
  readonly create: (settings: KernelSettings, effects: KernelEffects) => KernelExecutor;
  /** How it can deal endpoints; what else a Service asks for is a condition. */
  readonly algorithms: readonly EndpointAlgorithm[];
}

const modes: Readonly<Record<ProxyMode, Mode>> = {
  nftables: { tools: ["nft"], create: nftablesExecutor, algorithms: nftablesAlgorithms },
  iptables: { tools: ["iptables-save", "iptables-restore"], create: iptablesExecutor, algorithms: iptablesAlgorithms },
  ipvs: { tools: ["ipvsadm", "ipset"], create: ipvsExecutor, algorithms: ipvsAlgorithms },
};

export const algorithmsOf = (mode: ProxyMode): readonly EndpointAlgorithm[] => modes[mode].algorithms;

export function createExecutor(settings: KernelSettings, effects: KernelEffects): KernelExecutor {
  return modes[settings.mode].create(settings, effects);
}

/** Whose rules may be on a node: ours of each mode, where iptables and ipvs share kube-proxy's names, and its nftables tables. */
export type Leftover = ProxyMode | "kube-proxy's nftables";
export const leftovers: readonly Leftover[] = [...proxyModes, "kube-proxy's nftables"];

/** Those whose names no kube-proxy has: they can be taken away beside a running one. */
export const leftoversOfOurs: readonly Leftover[] = ["nftables"];

export interface Cleanup {
  readonly of: Leftover;
  /** "cleaned"; else why not, in words. */
  readonly outcome: string;
  readonly failed: boolean;
  /** How much was left since connections go through it, which is gone when it is asked for again later. */
  readonly open: number;
}

/**
 * Takes away what any process left under the names of `which` (by default of all), but with `leaveOpen` nothing that open connections
 * need. What needs tools that this machine does not have is left out, and so is what fails: each is said, and none keeps the others
 * from being cleaned.
 */
export async function cleanupLeftovers(
  settings: KernelSettings,
  effects: KernelEffects,
  which: readonly Leftover[] = leftovers,
  leaveOpen = false,
  create = createExecutor,
): Promise<readonly Cleanup[]> {
  const outcomes: Cleanup[] = [];
  for (const of of which) {
    const mode = of === "kube-proxy's nftables" ? undefined : of;
    const missing = await missingTool(effects.run, modes[mode ?? "nftables"].tools);
    let outcome = missing === undefined ? "cleaned" : `left out: ${missing} is not installed`;
    let [open, failed] = [0, false];
    try {
      if (missing === undefined && mode !== undefined)
        open = await create({ ...settings, mode }, effects).cleanup(leaveOpen);
      // Our own tables have another name, so these stay whatever we do; and they translate the same packets.
      if (missing === undefined && mode === undefined) await deleteTables(effects.run, "kube-proxy");
    } catch (error) {
      failed = true;
      outcome = `failed: ${(error as Error).message}`;
    }
    if (open > 0) outcome = `${open} of its frontends stay until the connections through them have ended`;
    outcomes.push({ of, outcome, failed, open });
  }
  return outcomes;
}

async function missingTool(run: Run, tools: readonly string[]): Promise<string | undefined> {
  for (const tool of tools) {
    // Whatever it answers, it is there.
    if ((await run(tool, ["--version"])).code === undefined) return tool;
  }
  return undefined;
}
