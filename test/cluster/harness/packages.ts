// The Debian packages that the cluster is made of, installed where missing. Nothing else of the machine is changed: the
// services that some of them bring are not started.
import { run, succeeds } from "./command.ts";

const packages = [
  ...["containerd", "runc", "containernetworking-plugins"],
  ...["iproute2", "util-linux", "procps", "nftables", "iptables", "ipset", "conntrack"],
  // The agent's image.
  ...["buildah", "mmdebstrap"],
  // What agnhost's image has beside agnhost (images.ts).
  ...["busybox-static", "dash", "coreutils", "curl", "wget", "netcat-openbsd", "bind9-dnsutils"],
];

/** `more`: what the caller needs besides. */
export async function ensurePackages(say: (line: string) => void, more: readonly string[] = []): Promise<void> {
  const wanted = [...packages, ...more];
  if (process.getuid?.() !== 0) throw new Error("network namespaces and containerd need root: run it with sudo");
  if (!(await succeeds(["dpkg-query", "--version"]))) {
    throw new Error(`this is not Debian or Ubuntu: install what provides ${wanted.join(", ")} and adapt packages.ts`);
  }
  const lines = await run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]);
  const installed = new Set(lines.split("\n").filter((line) => line.endsWith(" installed")));
  const missing = wanted.filter((name) => !installed.has(`${name} installed`));
  if (missing.length === 0) return;
  say(`installing Debian packages: ${missing.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await run(["apt-get", "update", "-qq"], { env, timeout: 300_000 });
  await run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...missing], { env, timeout: 600_000 });
}
