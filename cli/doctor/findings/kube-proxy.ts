// kube-proxy on each node, where it runs as pods or in k3s: whether it is Ready, and whether its version goes with the API server's. Pure.
// A kube-proxy that the node's init system starts says neither to Kubernetes: what it does shows at the NodePorts alone.
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { reports } from "./nodes.ts";

/** Kubernetes' policy: kube-proxy may be as many minor versions older than the API server, and never newer. */
const OLDER_MOST = 3;

export const kubeProxyFindings = (facts: Facts): Finding[] => [...down(facts), ...versions(facts)];

function down({ kube }: Facts): Finding[] {
  const running = new Set(kube.kubeProxyPods.filter(({ ready }) => ready).map(({ node }) => node));
  const ailing = kube.kubeProxyPods.filter(
    ({ ready, node, deleting }) => !ready && !deleting && node !== "" && !running.has(node),
  );
  return ailing.map(({ node, name, namespace, phase }) =>
    finding(
      "kube-proxy-down",
      "warning",
      `Node ${node}`,
      `${name} is ${phase} and not Ready`,
      `kubectl -n ${namespace} logs ${name}`,
    ),
  );
}

interface Installed {
  readonly node: string;
  /** What has which version, in words. */
  readonly what: string;
  readonly version: Version;
  /** How it becomes the API server's version. */
  readonly mend: (server: Version) => string;
}

function versions(facts: Facts): Finding[] {
  const server = versionOf(facts.kube.serverVersion ?? "");
  if (server === undefined) return [];
  return [...asPods(facts), ...builtIn(facts)].flatMap(({ node, what, version, mend }) => {
    const older = server.minor - version.minor;
    if (version.major === server.major && older >= 0 && older <= OLDER_MOST) return [];
    const than = older < 0 ? "newer than" : `${older} minor versions older than`;
    const seen = `${what}, ${than} the API server, ${server.text}`;
    return [finding("kube-proxy-version", "warning", `Node ${node}`, seen, mend(server))];
  });
}

/** Two on a node while it is upgraded: those that are on their way out do not count. */
function asPods({ kube }: Facts): Installed[] {
  return kube.kubeProxyPods.flatMap(({ namespace, name, node, deleting, containers }) => {
    const { image } = containers.find((each) => each.name === "kube-proxy") ?? { image: "" };
    const { repository, tag } = parted(image);
    const version = versionOf(tag);
    if (version === undefined || deleting || node === "") return [];
    const mend = ({ text }: Version): string =>
      `kubectl -n ${namespace} set image daemonset/kube-proxy kube-proxy=${repository}:${text}   # kubeadm does it with the control plane: kubeadm upgrade apply ${text}`;
    return [{ node, what: `${name} is ${version.text}`, version, mend }];
  });
}

/** k3s has kube-proxy in one program with the kubelet. Where the agent is in its place, k3s was told to leave it out. */
function builtIn({ kube, edge }: Facts): Installed[] {
  if (kube.kubeProxyPods.length > 0) return [];
  const replaced = new Set(reports(edge).flatMap(({ node, report }) => (inItsPlace(report.proxy) ? [node] : [])));
  return kube.nodeStates.flatMap(({ name, kubelet }) => {
    const version = versionOf(kubelet);
    if (version === undefined || !kubelet.includes("+k3s") || replaced.has(name)) return [];
    const mend = ({ text }: Version): string =>
      `kubectl get nodes   # k3s of every node shall be as its server's, ${text}; servers are upgraded first`;
    return [{ node: name, what: `k3s with its kube-proxy is ${kubelet}`, version, mend }];
  });
}

const inItsPlace = (proxy: string): boolean => proxy !== "none" && proxy !== "userspace";

/** "example.com:5000/kube-proxy:v1.34.2@sha256:…" => v1.34.2 of example.com:5000/kube-proxy. No tag: "". */
function parted(image: string): { readonly repository: string; readonly tag: string } {
  const [, repository = "", tag = ""] = /^(.+?)(?::([\w.-]+))?(?:@.*)?$/.exec(image) ?? [];
  return { repository, tag };
}

interface Version {
  readonly major: number;
  readonly minor: number;
  /** "v1.34.2", without what a distribution adds. */
  readonly text: string;
}

/** Undefined for what is no version, such as "latest". */
function versionOf(text: string): Version | undefined {
  const found = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text);
  if (found === null) return undefined;
  const [, major, minor, patch] = found;
  return { major: Number(major), minor: Number(minor), text: `v${major}.${minor}.${patch}` };
}
