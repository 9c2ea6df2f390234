// Ends the cluster and removes what it left, whether it was whole, half made or had crashed. Owns the memory of how the
// machine was before (`work`/before.json). Removes only what is the cluster's by pid and start time, by its folder, by
// the names of its namespaces, or because it was not there before.
import { existsSync, globSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { z } from "zod";
import { run, succeeds } from "./command.ts";
import { namespaces } from "./network.ts";
import { control, nodes, work } from "./places.ts";
import { endPids, endProcess, recordedNames, shims } from "./processes.ts";

const beforeSchema = z.strictObject({
  ipForward: z.string(),
  /** Namespaces and folders that were there, and so are not ours. */
  namespaces: z.array(z.string()),
  folders: z.array(z.string()),
});
type Before = z.infer<typeof beforeSchema>;

const beforeFile = `${work}/before.json`;
const ipForward = "/proc/sys/net/ipv4/ip_forward";

/** What containerd, the kubelet and `ip netns` make whatever their configuration says. */
const folders = [
  "/run/netns",
  "/run/containerd",
  "/opt/containerd",
  "/var/lib/cni",
  "/var/lib/kubelet",
  "/var/log/containers",
];

/** Before anything is made; a second time it changes nothing. */
export async function rememberMachine(): Promise<void> {
  if (existsSync(beforeFile)) return;
  const before: Before = {
    ipForward: readFileSync(ipForward, "utf8").trim(),
    namespaces: await namespaces(),
    folders: folders.filter((folder) => existsSync(folder)),
  };
  const taken = before.namespaces.filter((name) => ourNamespaces.includes(name));
  if (taken.length > 0) {
    throw new Error(
      `network namespaces ${taken.join(", ")} are in use: delete them with \`ip netns del\`, or end their owner`,
    );
  }
  mkdirSync(work, { recursive: true });
  writeFileSync(beforeFile, JSON.stringify(before));
}

/** False: there was nothing to stop. */
export async function stopCluster(): Promise<boolean> {
  if (!existsSync(beforeFile)) return false;
  const before = beforeSchema.parse(JSON.parse(readFileSync(beforeFile, "utf8")));
  // Kubelets and containerds first: they would start again what ends. All of them are recorded.
  await Promise.all(recordedNames().map((name) => endProcess(name)));
  await endPids(shims());
  const found = groups();
  await endPids(containers(found));
  await unmountBelow([
    work,
    ...folders.filter((folder) => folder !== "/run/netns" && !before.folders.includes(folder)),
  ]);
  removeGroups(found);
  await deleteNamespaces(before);
  writeFileSync(ipForward, before.ipForward);
  for (const folder of folders) if (!before.folders.includes(folder)) await removeFolder(folder);
  // Last: until then a `down` that broke off can be repeated.
  rmSync(work, { recursive: true, force: true });
  return true;
}

const ourNamespaces = [control.netns, ...nodes.map(({ netns }) => netns)];

async function deleteNamespaces(before: Before): Promise<void> {
  // The CNI plugins make one for each pod.
  const ours = (name: string): boolean => ourNamespaces.includes(name) || name.startsWith("cni-");
  const left = (await namespaces()).filter((name) => ours(name) && !before.namespaces.includes(name));
  for (const name of left) await run(["ip", "netns", "del", name]);
}

/** The control groups of our containers, in every hierarchy. Others' containers may be beside them. */
function groups(): string[] {
  const states = `${work}/n*/containerd/state/io.containerd.runtime.v2.task/k8s.io/*`;
  const ids = globSync(states).map((path) => basename(path));
  return ids.flatMap((id) => globSync([`/sys/fs/cgroup/k8s.io/${id}`, `/sys/fs/cgroup/*/k8s.io/${id}`]));
}

/** Found by their groups, since a shim that was killed has no children any more. */
function containers(found: readonly string[]): number[] {
  const pids = found.flatMap((group) => unlessGone(() => readFileSync(`${group}/cgroup.procs`, "utf8")).split("\n"));
  return [...new Set(pids.filter((pid) => pid !== "").map(Number))];
}

/** The innermost first: only empty ones can be removed. Their parent goes when it has no more, as it came. */
function removeGroups(found: readonly string[]): void {
  const nested = found
    .flatMap((group) => [group, ...globSync(`${group}/**/`)])
    .map((group) => group.replace(/\/$/, ""));
  for (const group of [...new Set(nested)].sort((a, b) => b.length - a.length)) unlessGone(() => rmdirSync(group));
  const parents = new Set(found.map((group) => dirname(group)));
  for (const parent of parents) if (globSync(`${parent}/*/`).length === 0) unlessGone(() => rmdirSync(parent));
}

/** A shim that ends removes its container's group: one that was listed may be gone. */
function unlessGone(act: () => string | void): string {
  try {
    return act() ?? "";
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

async function unmountBelow(roots: readonly string[]): Promise<void> {
  // "36 35 98:0 /root /mount/point rw …", in the order in which they were mounted
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((point) => roots.some((root) => point.startsWith(`${root}/`)));
  // One that is hidden below another cannot be named; what is really left shows when the folder is removed.
  for (const point of points.toReversed()) await succeeds(["umount", "--lazy", point]);
}

async function removeFolder(folder: string): Promise<void> {
  // `ip netns` mounts its folder on itself; others' namespaces in it stay.
  if (folder === "/run/netns") {
    if ((await namespaces()).length > 0) return;
    await succeeds(["umount", folder]);
  }
  rmSync(folder, { recursive: true, force: true });
}
