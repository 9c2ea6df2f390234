// One node in a virtual machine (../vm), for what this machine's kernel may lack: ip_vs. Its tap is in the bridge of the cluster's
// network, as the others' ends are; inside are containerd, kubelet, and the pods. Owns a folder under `work`, which the machine reads;
// what the machine writes is in its memory, and ends with it. What is running is left alone.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { INIT, initScript, type Job, kernelArguments, modulesOfProxies, quoted, UPLINK } from "../vm/job.ts";
import type { Kernel } from "../vm/kernel.ts";
import { run, succeeds } from "./command.ts";
import { agnhostImage, sameAsAgnhost } from "./images.ts";
import { addressing, batch, sysctls } from "./network.ts";
import { filesOf, kubeletCommand } from "./node.ts";
import { control, inside, type NodePlace, work } from "./places.ts";
import { ensureProcess } from "./processes.ts";

/** With the images, which are in it twice, and what a dozen pods need. Only what is used is taken from this machine. */
const MEMORY_MB = 4096;

export interface Machine {
  readonly kernel: Kernel;
  readonly binaries: string;
  /** OCI archives of all images: nothing can be brought into it later. */
  readonly archives: readonly string[];
}

/** What docs/install.md has a node's admin set for mode ipvs. */
const ipvsSysctls = ["conntrack", "expire_nodest_conn", "expire_quiescent_template"].map(
  (name) => `net.ipv4.vs.${name}=1`,
);

/** Started, not ready: that takes it minutes. */
export async function ensureMachine(node: NodePlace, machine: Machine): Promise<void> {
  const folder = `${work}/machine-${node.name}`;
  for (const [name, text] of Object.entries(filesOf(node))) {
    mkdirSync(dirname(`${folder}/files/${name}`), { recursive: true });
    writeFileSync(`${folder}/files/${name}`, text);
  }
  if (!(await succeeds([...inside(control.netns), "ip", "link", "show", node.name]))) {
    const lines = [
      `tuntap add dev ${node.name} mode tap`,
      `link set ${node.name} master ${control.bridge}`,
      `link set ${node.name} up`,
    ];
    await run(batch(control.netns), { input: lines.join("\n") });
  }
  const job: Job = {
    command: ["bash", "-c", nodeScript(node, folder, machine)],
    cwd: "/",
    env: {},
    shared: [],
    modules: [...modulesOfProxies, "bridge", "br_netfilter", "veth"],
    memoryMB: MEMORY_MB,
    tap: node.name,
  };
  writeFileSync(`${folder}/${INIT}`, initScript(job, folder, machine.kernel.folder), { mode: 0o755 });
  ensureProcess(`machine-${node.name}`, [
    ...inside(control.netns),
    // The machine's programs are processes here: they end with the first one of their namespace.
    ...["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"],
    // Its memory is a file in TMPDIR; what its node says comes by two more descriptors.
    ...["bash", "-c", 'TMPDIR=/dev/shm exec "$0" "$@" 3>&1 4>&2'],
    ...[...machine.kernel.command, ...kernelArguments(job, folder)],
  ]);
}

/** What the node runs in the machine. It ends where a step fails, and the machine with it; what was said is in its log. */
function nodeScript(node: NodePlace, folder: string, { binaries, archives }: Machine): string {
  const ctr = `ctr --address ${node.containerd} --namespace k8s.io`;
  return [
    "set -e",
    ...addressing(node, UPLINK).map((line) => `ip ${line}`),
    `sysctl -eqw ${[...sysctls, ...ipvsSysctls].join(" ")}`,
    `hostname ${node.name}`,
    "mount -t cgroup2 none /sys/fs/cgroup",
    // The kubelet asks for a clock speed, which this processor does not name.
    "sed 's/^mode.*/cpu MHz : 1000.000/' /proc/cpuinfo > /run/cpuinfo",
    "mount --bind /run/cpuinfo /proc/cpuinfo",
    // The root is an overlay, in which containerd could lay no other.
    `mkdir -p ${node.folder}`,
    `mount -t tmpfs tmpfs ${node.folder}`,
    `cp -r ${quoted(`${folder}/files`)}/. ${node.folder}`,
    `containerd --config ${node.folder}/containerd.toml &`,
    `until ${ctr} version > /run/version; do sleep 0.2; done`,
    ...archives.map((archive) => `${ctr} images import ${quoted(archive)}`),
    ...sameAsAgnhost.map((name) => `${ctr} images tag --force ${agnhostImage} ${name}`),
    `exec ${kubeletCommand(node, binaries).map(quoted).join(" ")}`,
  ].join("\n");
}
