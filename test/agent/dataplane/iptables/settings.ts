// Settings of iptables mode and what follows from them, for tests; changed by overriding parts.
import { type Facts, factsOf } from "../../../../agent/dataplane/iptables/facts.ts";
import { defaultSettings, type KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import { kernelNode } from "../kernel-plans.ts";

export const settings = (parts: Partial<KernelSettings> = {}): KernelSettings => ({
  ...defaultSettings,
  ...{ mode: "iptables", families: ["IPv4"], localDetector: { kind: "cluster-cidr", cidrs: ["10.244.0.0/16"] } },
  ...parts,
});

export const facts = (parts: Partial<KernelSettings> = {}, localAddresses: readonly string[] = []): Facts => ({
  ...factsOf("IPv4", settings(parts), kernelNode, localAddresses),
  recent: true,
});
