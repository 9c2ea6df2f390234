// Mode → the executor that programs the kernel in it, and what the other modes have left on a node. The one place that knows all
// three.
import type { KernelExecutor } from "../executor.ts";
import type { Run } from "./run.ts";
import { type KernelSettings, type ProxyMode, proxyModes } from "./settings.ts";

/** What an executor needs of the world. */
export interface KernelEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces, as they are now. */
  readonly localAddresses: () => readonly string[];
}

interface Mode {
  /** Programs without which there is nothing of this mode on the node, and nothing to take away either. */
  readonly tools: readonly string[];
  readonly create: (settings: KernelSettings, effects: KernelEffects) => KernelExecutor;
}

const notBuilt = (mode: ProxyMode) => (): never => {
  throw new Error(`--proxy-mode ${mode} is not built into this agent yet`);
};

const modes: Readonly<Record<ProxyMode, Mode>> = {
  nftables: { tools: ["nft"], create: notBuilt("nftables") },
  iptables: { tools: ["iptables-save", "iptables-restore"], create: notBuilt("iptables") },
  ipvs: { tools: ["ipvsadm", "ipset"], create: notBuilt("ipvs") },
};

/** Throws an error that names the mode where this agent has no executor for it. */
export function createExecutor(settings: KernelSettings, effects: KernelEffects): KernelExecutor {
  return modes[settings.mode].create(settings, effects);
}

export interface ModeCleanup {
  readonly mode: ProxyMode;
  /** "cleaned"; else why not, in words. */
  readonly outcome: string;
}

/**
 * Takes away what any process left under the names of these modes (by default of all), kube-proxy's included. A mode whose tools
 * this machine does not have is left out, and so is one that fails: each is said, none keeps the others from being cleaned.
 */
export async function cleanupModes(
  settings: KernelSettings,
  { run, localAddresses }: KernelEffects,
  which: readonly ProxyMode[] = proxyModes,
  make = (mode: ProxyMode) => createExecutor({ ...settings, mode }, { run, localAddresses }),
): Promise<readonly ModeCleanup[]> {
  const outcomes: ModeCleanup[] = [];
  for (const mode of which) {
    const missing = await missingTool(run, modes[mode].tools);
    let outcome = missing === undefined ? "cleaned" : `left out: ${missing} is not installed`;
    try {
      if (missing === undefined) await make(mode).cleanup();
    } catch (error) {
      outcome = `failed: ${(error as Error).message}`;
    }
    outcomes.push({ mode, outcome });
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
