// The configuration files of a node's programs, as text. Pure: a node's place in, a file's content out.
// JSON where the program reads YAML: the one is also the other.
import { control, kubeconfig, type NodePlace, podRange } from "./places.ts";

export function containerdConfig(node: NodePlace, pause: string): string {
  return `version = 2
root = "${node.folder}/containerd/root"
state = "${node.folder}/containerd/state"
# It would make /opt/containerd, which nobody here uses.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "${node.containerd}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pause}"
  # Without CAP_SYS_RESOURCE a sandbox that asks for a lower score dies with "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${node.folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "${node.folder}/runc"
`;
}

export function networkConfig(node: NodePlace): string {
  return JSON.stringify({
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: "pods",
        isGateway: true,
        ipMasq: false, // every node has a route to every pod
        hairpinMode: true, // a pod reaches its own Service
        ipam: {
          type: "host-local",
          dataDir: `${node.folder}/addresses`,
          ranges: [[{ subnet: node.podRange }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}

export function kubeletConfig(node: NodePlace): string {
  return JSON.stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: node.address,
    containerRuntimeEndpoint: `unix://${node.containerd}`,
    cgroupDriver: "cgroupfs",
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    failCgroupV1: false,
    localStorageCapacityIsolation: false,
    oomScoreAdj: 0,
    imageGCHighThresholdPercent: 100, // nothing could bring an image back
    evictionHard: { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    podLogsDir: `${node.folder}/pods`,
    volumePluginDir: `${node.folder}/plugins`,
    resolvConf: `${node.folder}/resolv.conf`,
    clusterDNS: [control.address],
    clusterDomain: "cluster.local",
    // Only the cluster's own namespaces reach it, and the API server's certificate for it would prove nothing more.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
  });
}

/** The node's own resolver: the machine's name servers are out of reach. */
export const resolverConfig = (): string => `nameserver ${control.address}\n`;

export function proxyConfig(node: NodePlace): string {
  return JSON.stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    hostnameOverride: node.name,
    bindAddress: node.address,
    clientConnection: { kubeconfig: kubeconfig("proxy") },
    clusterCIDR: podRange,
    oomScoreAdj: 0,
    // The limit belongs to the whole machine: a namespace cannot set it. The timeouts are set with the network.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  });
}

/** The agents' requests without their bodies, and nobody else's. */
export function auditPolicy(): string {
  return JSON.stringify({
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived", "ResponseStarted"],
    rules: [{ level: "Metadata", users: ["system:serviceaccount:postern-system:postern-agent"] }, { level: "None" }],
  });
}
