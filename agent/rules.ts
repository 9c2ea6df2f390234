// What the command line means for plan and snapshot, and whether it lets the agent serve beside what is there. Pure.
import { refusalOfDefaultClass } from "./controller/other-controllers.ts";
import { algorithmsOf } from "./dataplane/kernel/create.ts";
import type { ProxyMode } from "./dataplane/kernel/settings.ts";
import { userspaceAlgorithms } from "./endpoints/balance/index.ts";
import type { Options } from "./options.ts";
import type { PlanOptions } from "./plan/forwarding.ts";
import type { NodesOwn, SnapshotOptions } from "./plan/snapshot.ts";
import type { Observed } from "./source/source.ts";

/** What every agent of the cluster shares. What one node alone finds out is added where it is known. */
export type Rules = Omit<SnapshotOptions, NodesOwn> & Omit<PlanOptions, "resolved" | "localAddresses">;

/** `mode`: in which this agent programs the kernel, with --proxy all. */
export function rulesOf(options: Options, mode?: ProxyMode): Rules {
  // The tunnel's streams are dealt in userspace in any case, so a Service gets what both can do.
  const kernel = mode && algorithmsOf(mode);
  return {
    defaultClass: options["default-class"] || options["force-default-class"],
    allowExternalName: options["allow-external-name"],
    ignoreExcludeLabel: options["ignore-exclude-label"],
    directAddressType: options["direct-address-type"],
    clusterDomain: options["cluster-domain"],
    endpointAlgorithms: userspaceAlgorithms.filter((each) => kernel?.includes(each) ?? true),
    slicesFollow: options.source === "kube",
    forwards: ({ none: "nothing", userspace: "nodePorts", all: "all" } as const)[options.proxy],
  };
}

/** Why an agent with these options must not serve the edge in this cluster; undefined where it may. */
export function refusalToServe(
  options: Pick<Options, "default-class" | "force-default-class">,
  { services }: Pick<Observed, "services">,
): string | undefined {
  return options["default-class"] && !options["force-default-class"] ? refusalOfDefaultClass(services) : undefined;
}
