// The nftables executor: one table a family, one transaction a sync, and nothing at all where the plan is as it was. It lists nothing
// but its own stamp, of one element. Owns the tables "ip postern" and "ip6 postern" and touches no other. They outlive the process.
import type { Family } from "../../plan/endpoints.ts";
import type { ForwardingPlan, KernelNode, PlanService } from "../../plan/plan.ts";
import type { Checked, KernelApplied, KernelExecutor, NodeProblem } from "../executor.ts";
import { forEach, isForbidden, oneLine } from "../kernel/ran.ts";
import type { Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { worstOf } from "../kernel/worst-of.ts";
import { type NftFamily, TABLE } from "./layout.ts";
import { type NftablesEffects, NftTable } from "./nft-table.ts";
import { nftablesAlgorithms } from "./slots.ts";

export function nftablesExecutor(settings: KernelSettings, effects: NftablesEffects): KernelExecutor {
  return new NftablesExecutor(settings, effects);
}

interface FamilyTable {
  readonly family: Family;
  readonly table: NftTable;
  /** nft could not do it when it was tried last, and no Service has it: it is tried again when one has, or all is renewed. */
  unable: boolean;
}

class NftablesExecutor implements KernelExecutor {
  readonly #run: Run;
  readonly #families: readonly FamilyTable[];

  constructor(settings: KernelSettings, effects: NftablesEffects) {
    this.#run = effects.run;
    this.#families = settings.families.map((family) => ({
      family,
      table: new NftTable(family, settings, effects),
      unable: false,
    }));
  }

  async apply({ services, kernel }: ForwardingPlan): Promise<KernelApplied> {
    if (kernel === undefined) return { problems: [] };
    const forwarded = services.filter((each) => each.kernel !== undefined);
    // A family that fails leaves the other alone.
    const families = await Promise.allSettled(this.#families.map((each) => this.#write(each, forwarded, kernel)));
    const failed = families.flatMap((each) => (each.status === "rejected" ? [(each.reason as Error).message] : []));
    if (failed.length > 0) throw new Error(failed.join("; "));
    const applied = families.flatMap((each) => (each.status === "fulfilled" ? (each.value ?? []) : []));
    const problems = applied.flatMap((each) => each.problems);
    return { problems: [...problems, ...unsupported(forwarded)], written: applied.map(({ written }) => written) };
  }

  /** Rules outlive the agent: connections go on while it is upgraded. */
  clear(): Promise<void> {
    return Promise.resolve();
  }

  async check(): Promise<Checked> {
    return worstOf(await Promise.all(this.#families.map(({ table }) => table.check())));
  }

  renew(): void {
    for (const each of this.#families) {
      each.table.renew();
      each.unable = false;
    }
  }

  /** What is connected goes on by conntrack alone. */
  async cleanup(): Promise<number> {
    for (const { table } of this.#families) table.forget();
    await deleteTables(this.#run, TABLE);
    return 0;
  }

  /** Undefined where nft cannot do a family that no Service has: a machine without IPv6 is no problem of a cluster that has none. */
  async #write(
    each: FamilyTable,
    services: readonly PlanService[],
    node: KernelNode,
  ): Promise<Awaited<ReturnType<NftTable["apply"]>> | undefined> {
    const { family, table } = each;
    const isUsed = () => services.some(({ kernel }) => kernel?.ports.some((port) => port.family === family));
    if (each.unable && !isUsed()) return undefined;
    each.unable = false;
    try {
      return await table.apply(services, node);
    } catch (error) {
      if (isUsed()) throw error;
      // What an earlier plan left of the table must be gone, though.
      await deleteTables(this.#run, TABLE, [family === "IPv4" ? "ip" : "ip6"]).catch(() => {
        throw error;
      });
      each.unable = true;
      return undefined;
    }
  }
}

const NO_FAMILY = /Operation not supported|Protocol not supported/;

/**
 * Each by itself: that of one family may be there though the kernel has not the other. Nothing is listed: nft would read every
 * element of every table. Rejects where a table may be left.
 */
export async function deleteTables(
  run: Run,
  name: string,
  families: readonly NftFamily[] = ["ip", "ip6"],
): Promise<void> {
  await forEach(families, async (family) => {
    const table = `${family} ${name}`;
    const { code, stderr } = await run("nft", ["-f", "-"], `add table ${table}\ndelete table ${table}\n`);
    // A kernel without nftables, or without the family, has no such table.
    if (code === 0 || NO_FAMILY.test(stderr)) return;
    const mend = isForbidden(stderr) ? ". It needs uid 0 and NET_ADMIN in the host's network" : "";
    throw new Error(`nft cannot delete table ${table}: ${oneLine(stderr)}${mend}`);
  });
}

function unsupported(services: readonly PlanService[]): readonly NodeProblem[] {
  const possible: readonly string[] = nftablesAlgorithms;
  return services
    .filter(({ algorithm }) => !possible.includes(algorithm))
    .map(({ key, algorithm }) => ({
      service: key,
      reason: "EndpointAlgorithmNotSupported",
      message: `postern.dev/endpoint-algorithm: ${algorithm} cannot be done with --proxy-mode nftables (possible: ${possible.join(", ")}; ipvs has lc, wlc, dh, sed and nq); endpoints are chosen at random`,
    }));
}
