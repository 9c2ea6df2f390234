// The kernel of the virtual machine: Debian's user-mode-linux, which is Linux 6.1 as a program. It needs neither KVM nor an
// emulated processor, and has ip_vs with all of its schedulers, ipset and iptables as modules, as Debian's other kernels have.
// Owns its folder in the cache. The package is unpacked there and never installed.
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { onceInCache } from "../harness/cache.ts";
import { run } from "../harness/command.ts";
import { ensurePackages } from "../harness/packages.ts";

export interface Kernel {
  readonly program: string;
  /** It has lib/modules/<release>/, as `modprobe -d` wants it. */
  readonly folder: string;
}

/** What its userland needs besides the packages of the cluster. */
const packages = ["kmod", "ipvsadm"];

export async function ensureKernel(say: (line: string) => void): Promise<Kernel> {
  await ensurePackages(say, packages);
  const folder = await onceInCache("user-mode-linux", async (partial) => {
    say("fetching Debian's user-mode-linux (40 MB), once for this machine");
    await run(["apt-get", "update", "-qq"], { timeout: 300_000 });
    await run(["apt-get", "download", "-qq", "user-mode-linux"], { cwd: partial, timeout: 600_000 });
    const archive = readdirSync(partial).find((name) => name.endsWith(".deb"));
    await run(["dpkg", "-x", `${partial}/${archive}`, partial]);
    rmSync(`${partial}/${archive}`);
    mkdirSync(`${partial}/lib`);
    renameSync(`${partial}/usr/lib/uml/modules`, `${partial}/lib/modules`);
    for (const release of readdirSync(`${partial}/lib/modules`)) await run(["depmod", "-b", partial, release]);
  });
  return { program: `${folder}/usr/bin/linux.uml`, folder };
}
