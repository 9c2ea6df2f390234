// `down` after a crash: half of the cluster killed with pods running, and then nothing of it is left on the machine.
// Only on a cluster that the tests brought up: it would take away a developer's.
import { existsSync, globSync, readFileSync } from "node:fs";
import { afterAll, expect, inject, it } from "vitest";
import { bringUp } from "../../harness/cluster.ts";
import { run } from "../../harness/command.ts";
import { namespaces } from "../../harness/network.ts";
import { nodes, work } from "../../harness/places.ts";
import { endPids, endProcess, shims } from "../../harness/processes.ts";
import { rememberMachine, stopCluster } from "../../harness/stop.ts";
import { TestNamespace } from "../../tools/web.ts";

const own = inject("ownCluster");

afterAll(async () => {
  if (own) await bringUp(() => {});
});

it.runIf(own)(
  "nothing is left after containerds, a shim, etcd and a kubelet were killed",
  async () => {
    // A first try may have left a part of it.
    await bringUp(() => {});
    const test = await TestNamespace.create();
    await test.deployWeb({ replicas: 3 });
    const before = JSON.parse(readFileSync(`${work}/before.json`, "utf8")) as { ipForward: string };
    expect(running("/agnhost").length).toBeGreaterThanOrEqual(3);
    await Promise.all(
      [...nodes.map(({ name }) => `containerd-${name}`), "etcd", "kubelet-n1"].map((name) => endProcess(name)),
    );
    await endPids(shims().slice(0, 1));

    expect(await stopCluster()).toBe(true);

    expect(running("/agnhost")).toEqual([]);
    expect(running("/busybox")).toEqual([]);
    expect(shims()).toEqual([]);
    expect(existsSync(work)).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(work);
    expect((await namespaces()).filter((name) => /^(cp|n\d|cni-.*)$/.test(name))).toEqual([]);
    expect(readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim()).toBe(before.ipForward);
    expect(globSync("/sys/fs/cgroup/{,*/}k8s.io/*/")).toEqual([]);
    expect(await stopCluster()).toBe(false);
  },
  400_000,
);

it.runIf(own)("a machine that uses one of the names is left alone", async () => {
  await stopCluster();
  await run(["ip", "netns", "add", "n1"]);
  try {
    await expect(rememberMachine()).rejects.toThrow("n1 are in use");
    expect(await stopCluster()).toBe(false);
    expect(await namespaces()).toContain("n1");
  } finally {
    await run(["ip", "netns", "del", "n1"]);
    // `ip netns` made its folder for this one.
    if ((await namespaces()).length === 0) await run(["sh", "-c", "umount /run/netns && rmdir /run/netns"]);
  }
});

/** Processes that run this program of a pod's image. */
function running(program: string): string[] {
  return globSync("/proc/[0-9]*").flatMap((path) => {
    try {
      const [first] = readFileSync(`${path}/cmdline`, "utf8").split("\0");
      return first === program ? [path] : [];
    } catch {
      return []; // it ended in this instant
    }
  });
}
