// The kernel of the virtual machine: Debian's user-mode-linux, which is Linux 6.1 as a program. It needs neither KVM nor an
// emulated processor, and has ip_vs with all of its schedulers, ipset and iptables as modules, as Debian's other kernels have.
// Owns its folder in the cache. The package is unpacked there and never installed.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { onceInCache } from "../harness/cache.ts";
import { run } from "../harness/command.ts";
import { ensurePackages } from "../harness/packages.ts";

export interface Kernel {
  /** The kernel as a program; its arguments follow. */
  readonly command: readonly string[];
  /** It has lib/modules/<release>/, as `modprobe -d` wants it. */
  readonly folder: string;
}

/** What its userland needs besides the packages of the cluster. */
const packages = ["kmod", "ipvsadm"];
/** For xstate.c. */
const compiler = ["gcc", "libc6-dev"];

export async function ensureKernel(say: (line: string) => void): Promise<Kernel> {
  await ensurePackages(say, [...packages, ...compiler]);
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
  const source = new URL("xstate.c", import.meta.url).pathname;
  const digest = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 12);
  const preloaded = await onceInCache(`user-mode-linux-xstate-${digest}`, async (partial) => {
    await run(["gcc", "-O2", "-shared", "-fPIC", "-o", `${partial}/xstate.so`, source]);
  });
  return { command: ["env", `LD_PRELOAD=${preloaded}/xstate.so`, `${folder}/usr/bin/linux.uml`], folder };
}
