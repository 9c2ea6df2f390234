// The two programs that are compared, and how each is started: with its own defaults for all that concerns time.
import { writeFileSync } from "node:fs";
import { apiServer, node, podRange } from "./places.ts";

export const programNames = ["agent", "kube-proxy"] as const;
export type ProgramName = (typeof programNames)[number];
export const modes = ["nftables", "iptables"] as const;
export type Mode = (typeof modes)[number];

export interface Setting {
  readonly mode: Mode;
  /** For the files that a program is told of. */
  readonly folder: string;
  /** The program. */
  readonly kubeProxy: string;
  /** The agent, bundled. */
  readonly agent: string;
}

const commands: Readonly<Record<ProgramName, (setting: Setting, kubeconfig: string) => string[]>> = {
  "kube-proxy": ({ mode, folder, kubeProxy }, kubeconfig) => {
    const file = `${folder}/kube-proxy.json`;
    writeFileSync(file, JSON.stringify(configuration(mode, kubeconfig)));
    return [kubeProxy, "--config", file];
  },
  agent: ({ mode, agent }, kubeconfig) => [
    ...[process.execPath, agent, "--proxy", "all", "--proxy-mode", mode],
    ...["--source", "kube", "--kubeconfig", kubeconfig, "--node", node.name],
    ...["--proxy-health-address", "127.0.0.1:10256"],
  ],
};

/** As the agent's image sets it; kube-proxy knows none of these. */
export const environment = {
  NODE_ENV: "production",
  MALLOC_ARENA_MAX: "2",
  NODE_OPTIONS: "--max-semi-space-size=8",
};

export function commandOf(program: ProgramName, setting: Setting): string[] {
  const kubeconfig = `${setting.folder}/kubeconfig`;
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(apiServer)));
  return commands[program](setting, kubeconfig);
}

export function kubeconfigFor(server: string): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "bench", cluster: { server } }],
    users: [{ name: "user", user: { token: "nobody-asks" } }],
    contexts: [{ name: "bench", context: { cluster: "bench", user: "user" } }],
    "current-context": "bench",
  };
}

/** A KubeProxyConfiguration, which is JSON as well as YAML. */
export function configuration(mode: Mode, kubeconfig: string): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    hostnameOverride: node.name,
    clientConnection: { kubeconfig },
    mode,
    clusterCIDR: podRange,
    // They belong to the machine, and cannot be set in a namespace.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
  };
}
