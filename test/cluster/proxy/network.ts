// The world's network, made inside the private namespaces of isolation.ts: they end with the run, so nothing is undone here.
// Pods hang on routed pairs of interfaces, not on a bridge, as with most CNI plugins that route: an answer between two pods
// of one node passes the node's rules again.
import { run } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import {
  control,
  gateway,
  lanPrefix,
  type NodePlace,
  nodes,
  outsides,
  type Place,
  placeOf,
  places,
  rangesOfServices,
  runner,
  sources,
} from "./places.ts";
import { families, type Family } from "./row.ts";

const settings = [
  // The kernel answers each peer with one ICMP error a second, and all of them with a thousand: rejects would look like drops.
  ...["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"],
  // An address can be used at once.
  ...["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"],
  // Nobody is told of a shorter way than the one that is tested.
  ...["net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0"],
  ...["net.ipv4.conf.all.accept_redirects=0", "net.ipv4.conf.default.accept_redirects=0"],
  ...["net.ipv6.conf.all.accept_redirects=0", "net.ipv6.conf.default.accept_redirects=0"],
  ...["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"],
];
const forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];

/** With it the control plane has its address. `uplink`: the interface that leads to it, if it is in another machine. */
export async function makeLan(uplink?: string): Promise<void> {
  const { bridge } = control;
  const { addresses } = uplink === undefined ? control : runner;
  await run(["sysctl", "-qw", ...settings]);
  await ip(undefined, [
    "link set lo up",
    `link add name ${bridge} type bridge`,
    `link set ${bridge} up`,
    ...(uplink === undefined ? [] : [`link set dev ${uplink} master ${bridge} up`]),
    ...families.map((family) => addressLine(addresses[family] + lanPrefix[family], bridge)),
  ]);
}

/** `extraAddresses`: what nodes have besides their own. */
export async function makeNetwork(
  extraAddresses: readonly { node: string; addresses: readonly string[] }[],
): Promise<void> {
  await Promise.all(places.map(makeNamespace));
  // One after the other: each takes its place on the bridge.
  for (const place of [...nodes, ...outsides, gateway]) await connectToLan(place);
  for (const node of nodes) for (const pod of node.pods) await connectPod(node, pod);
  // Its clients bind to addresses that no interface has.
  await run([...inside(sources.of), "sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1"]);
  await Promise.all([
    ip(
      sources.of,
      families.map((family) => `route add local ${sources.ranges[family]} dev lo`),
    ),
    ...nodes.map((node) => ip(node.name, nodeRoutes(node))),
    ...outsides.map(({ name, via }) =>
      ip(
        name,
        rangesOfServices.flatMap((range) =>
          families.map((family) => `route add ${range[family]} via ${via.addresses[family]}`),
        ),
      ),
    ),
    // Answers go back as the packets came: a node that sees half of a connection may call it invalid.
    ip(gateway.name, [
      ...nodes.flatMap(podRoutes),
      ...outsides.flatMap(({ addresses, via }) =>
        families.map((family) => `route add ${addresses[family]}${alone[family]} via ${via.addresses[family]}`),
      ),
      // In the main table, so that the LAN and the pods are found before it.
      "route add local 0.0.0.0/0 dev lo table main",
      "route add local ::/0 dev lo table main",
    ]),
    // Not on lo: from there the kernel would take one as the source of what the node asks itself, masqueraded.
    ...extraAddresses.map(({ node, addresses }) =>
      ip(node, [
        "link add name own type bridge",
        "link set own up",
        ...addresses.map((address) => addressLine(address, "own")),
      ]),
    ),
  ]);
}

async function makeNamespace({ name }: Place): Promise<void> {
  const isNode = nodes.some((node) => node.name === name);
  await run(["ip", "netns", "add", name]);
  await run([...inside(name), "sysctl", "-qw", ...settings, ...(isNode ? forwarding : [])]);
  await ip(name, ["link set lo up"]);
}

async function connectToLan(place: Place): Promise<void> {
  const { name, addresses } = place;
  await ip(undefined, [
    `link add name ${name} type veth peer name eth0 netns ${name}`,
    `link set dev ${name} master ${control.bridge} up`,
  ]);
  const secondary = nodes.find((node) => node.name === name)?.secondary;
  await ip(name, [
    ...families.map((family) => addressLine(addresses[family] + lanPrefix[family], "eth0")),
    // The node must not choose it as its packets' source: of IPv4's addresses the first is chosen, of IPv6's any.
    ...(secondary === undefined ? [] : families).map(
      (family) =>
        `${addressLine(`${secondary?.[family]}${lanPrefix[family]}`, "eth0")}${family === "IPv6" ? " preferred_lft 0" : ""}`,
    ),
    "link set eth0 up",
  ]);
}

async function connectPod(node: NodePlace, pod: Place): Promise<void> {
  await ip(node.name, [
    `link add name ${pod.name} type veth peer name eth0 netns ${pod.name}`,
    ...families.map((family) => addressLine(node.podGateway[family] + alone[family], pod.name)),
    `link set dev ${pod.name} up`,
    ...families.map((family) => `route add ${pod.addresses[family]}${alone[family]} dev ${pod.name}`),
  ]);
  await ip(pod.name, [
    ...families.map((family) => addressLine(pod.addresses[family] + alone[family], "eth0")),
    "link set eth0 up",
    ...families.flatMap((family) => [
      `route add ${node.podGateway[family]}${alone[family]} dev eth0`,
      `route add default via ${node.podGateway[family]} dev eth0`,
    ]),
  ]);
}

const nodeRoutes = (node: NodePlace): string[] => [
  ...nodes.filter((other) => other !== node).flatMap(podRoutes),
  ...families.map((family) => `route add default via ${gateway.addresses[family]}`),
  ...families.map((family) => `route add ${sources.ranges[family]} via ${placeOf(sources.of).addresses[family]}`),
];
const podRoutes = (node: NodePlace): string[] =>
  families.map((family) => `route add ${node.podRanges[family]} via ${node.addresses[family]}`);

const alone: Readonly<Record<Family, string>> = { IPv4: "/32", IPv6: "/128" };
const addressLine = (address: string, device: string): string =>
  `addr add ${address} dev ${device}${address.includes(":") ? " nodad" : ""}`;

/** `netns` undefined: the control plane's, which is the run's own. */
async function ip(netns: string | undefined, lines: readonly string[]): Promise<void> {
  const prefix = netns === undefined ? [] : inside(netns);
  // Which family a line is of, `ip` must be told for routes to a "default" alone; two batches are simplest.
  const isSix = (line: string): boolean => / (\S*:\S*)/.test(line);
  const four = lines.filter((line) => !isSix(line));
  const six = lines.filter(isSix);
  if (four.length > 0) await run([...prefix, "ip", "-batch", "-"], { input: four.join("\n") });
  if (six.length > 0) await run([...prefix, "ip", "-6", "-batch", "-"], { input: six.join("\n") });
}
