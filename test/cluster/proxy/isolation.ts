// Runs a program of this folder in namespaces of its own: network, mounts, processes. Nothing of it can outlive them, since
// the kernel ends every process of them with the first one, and the network namespaces, their rules and the files in /run
// with the last; nothing of the machine is changed, so there is nothing to undo, whatever happened.
// Owns that first process, and ends it when this one is told to end, or has gone.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Its temporary folder is in memory, below /run. */
export const FOLDER = "/run/postern-proxy-table";

/** Resolves to the exit code. `started` hears the process id of which the first process in the namespaces is the child. */
export async function runIsolated(
  program: string,
  args: readonly string[],
  started?: (pid: number) => void,
): Promise<number> {
  // /run is private too: `ip netns` keeps its names there, and iptables its lock.
  const script = `mount -t tmpfs tmpfs /run && mkdir ${FOLDER} && exec "$@"`;
  const command = ["bash", "-c", script, "bash", process.execPath, program, ...args];
  const child = spawn(
    "unshare",
    ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL", ...command],
    // The pipe breaks when this process is killed: then the program ends, too.
    { stdio: ["pipe", "inherit", "inherit"], env: { ...process.env, TMPDIR: FOLDER }, detached: true },
  );
  if (child.pid !== undefined) started?.(child.pid);
  const end = (): void => void child.kill("SIGKILL");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, end);
  const [code] = (await once(child, "close")) as [number | null];
  return code ?? 130;
}

/** To be called in the program: its end comes with its parent's. As the first process of its namespace it takes all others along. */
export function endWithParent(): void {
  process.stdin.on("end", () => process.exit(130)).on("error", () => process.exit(130));
  process.stdin.resume();
}
