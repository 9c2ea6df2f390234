// What the virtual servers and rules of one address family need to know of the node. Pure. Equal facts give equal elements.
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode } from "../../plan/plan.ts";
import { factsOf as rulesFactsOf } from "../iptables/facts.ts";
import { nodePortAddresses } from "../kernel/node-port-addresses.ts";
import type { KernelSettings } from "../kernel/settings.ts";

export interface Facts {
  readonly family: Family;
  /** The bit of the packet mark, as "0x4000". */
  readonly mark: string;
  readonly masqueradeAll: boolean;
  /** Each matches traffic of this node's pods. Empty: it cannot be told. */
  readonly fromPods: readonly string[];
  /** The addresses at which NodePorts are served: each has its own virtual servers. */
  readonly nodePortAddresses: readonly string[];
  /** Addresses of this machine's other interfaces. A Service that has one of them too does not take it to the device. */
  readonly machineAddresses: readonly string[];
  /** Those of the Node object. */
  readonly nodeAddresses: readonly string[];
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
  const isOfFamily = (address: string) => address.includes(":") === (family === "IPv6");
  const machineAddresses = [...new Set(localAddresses)].filter((address) => isOfFamily(address) && isServed(address));
  const { mark, masqueradeAll, fromPods, nodeAddresses } = rulesFactsOf(family, settings, node, localAddresses);
  const served = nodePortAddresses(family, settings, node.addresses, localAddresses);
  return {
    ...{ family, mark, masqueradeAll, fromPods, nodeAddresses, machineAddresses, missing },
    nodePortAddresses: served === "all" ? machineAddresses : served.filter(isServed),
    scheduler: settings.ipvs.scheduler === "" ? "rr" : settings.ipvs.scheduler,
  };
}

/** ipvs takes no packets from loopback, and an address of the link is not one without its interface. */
const isServed = (address: string): boolean => !/^(127\.|::1$|fe[89ab])/i.test(address);
