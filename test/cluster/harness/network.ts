// The cluster's network: a namespace `cp` with a bridge, one namespace a node on that bridge, and routes to the nodes'
// pod ranges. Touches nothing of the machine's own network: nothing in here has a way out, and none leads in.
// Safe to repeat: what is there is left alone, a namespace that is half made is made anew.
import { run, succeeds } from "./command.ts";
import { anyService, control, inside, nodes, type NodePlace, outside } from "./places.ts";

/**
 * What docs/install.md has a node's admin set where the agent is in kube-proxy's place, for a pod cannot. A kernel that has not
 * loaded nf_conntrack yet does not know the last two, and they are left out.
 */
export const sysctls = [
  "net.ipv4.ip_forward=1",
  "net.netfilter.nf_conntrack_tcp_timeout_established=86400",
  "net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600",
];

/** `machines`: nodes are virtual machines (machine.ts), and have no namespaces here. */
export async function ensureNetwork(machines: boolean): Promise<void> {
  const { netns, bridge, address, prefix } = control;
  if (!(await succeeds([...inside(netns), "ip", "route", "get", address]))) {
    await makeNamespace(netns);
    const lines = [
      `link add ${bridge} type bridge`,
      `link set ${bridge} up`,
      `addr add ${address}/${prefix} dev ${bridge}`,
      `addr add ${outside.address}/${prefix} dev ${bridge}`,
    ];
    await run(batch(netns), { input: lines.join("\n") });
  }
  if (!machines) for (const node of nodes) await ensureNode(node);
  await run(batch(netns), { input: nodes.map(routeTo).join("\n") });
}

async function ensureNode(node: NodePlace): Promise<void> {
  // The default route comes last: with it the node is whole.
  if (await succeeds([...inside(node.netns), "ip", "route", "get", anyService])) return;
  await makeNamespace(node.netns);
  await run(batch(node.netns), { input: `link add eth0 type veth peer name ${node.name} netns ${control.netns}` });
  await run(batch(control.netns), { input: `link set ${node.name} master ${control.bridge} up` });
  await run(batch(node.netns), { input: addressing(node, "eth0").join("\n") });
}

/** What `ip` is told on a node whose uplink is `device`. */
export const addressing = (node: NodePlace, device: string): readonly string[] => [
  `addr add ${node.address}/${control.prefix} dev ${device}`,
  `link set ${device} up`,
  ...nodes.filter((other) => other !== node).map(routeTo),
  // Covers the Services' addresses too: a packet needs a route before kube-proxy's rules turn it.
  `route add default via ${control.address}`,
];

// "replace": the control plane's routes vanish with the interface of a node that is made anew.
const routeTo = (node: NodePlace): string => `route replace ${node.podRange} via ${node.address}`;

async function makeNamespace(netns: string): Promise<void> {
  if ((await namespaces()).includes(netns)) await run(["ip", "netns", "del", netns]);
  await run(["ip", "netns", "add", netns]);
  await run(batch(netns), { input: "link set lo up" });
  await run([...inside(netns), "sysctl", "-eqw", ...sysctls]);
}

export const batch = (netns: string): string[] => [...inside(netns), "ip", "-batch", "-"];

export async function namespaces(): Promise<string[]> {
  const list = await run(["ip", "netns", "list"]);
  // "n1 (id: 3)\nn2\n" => ["n1", "n2"]
  return list.split("\n").flatMap((line) => line.split(" ", 1).filter((name) => name !== ""));
}
