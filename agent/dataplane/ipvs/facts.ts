// What the virtual servers and rules of one address family need to know of the node. Pure. Equal facts give equal elements.
import { ofFamily } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode } from "../../plan/plan.ts";
import { type Facts as RulesFacts, factsOf as rulesFactsOf } from "../iptables/facts.ts";
import { nodePortAddresses } from "../kernel/node-port-addresses.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { nodeScheduler } from "./schedulers.ts";

export interface Facts extends Pick<RulesFacts, "family" | "mark" | "masqueradeAll" | "fromPods" | "nodeAddresses"> {
  /** The addresses at which NodePorts are served: each has its own virtual servers. */
  readonly nodePortAddresses: readonly string[];
  /** Addresses of this machine's other interfaces. A Service that has one of them too does not take it to the device. */
  readonly machineAddresses: readonly string[];
  /** For Services that ask for no other. */
  readonly scheduler: string;
  /** Schedulers that this kernel turned out not to have. */
  readonly missing: readonly string[];
}

export function factsOf(
  family: Family,
  settings: KernelSettings,
  node: KernelNode,
  localAddresses: readonly string[],
  missing: readonly string[],
): Facts {
  const machineAddresses = [...new Set(ofFamily(localAddresses, family))].filter(isServed);
  const { mark, masqueradeAll, fromPods, nodeAddresses } = rulesFactsOf(family, settings, node, localAddresses);
  const served = nodePortAddresses(family, settings, node.addresses, localAddresses);
  return {
    ...{ family, mark, masqueradeAll, fromPods, nodeAddresses, machineAddresses, missing },
    nodePortAddresses: served === "all" ? machineAddresses : served.filter(isServed),
    scheduler: nodeScheduler(settings),
  };
}

/** ipvs takes no packets from loopback, and an address of the link is not one without its interface. */
const isServed = (address: string): boolean => !/^(127\.|::1$|fe[89ab])/i.test(address);
