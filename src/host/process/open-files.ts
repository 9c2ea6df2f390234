// How many files and sockets this process and those that it starts may have open. Node.js has raised its own limit to the hard one
// already; more is the owner's to give.
import { readFileSync } from "node:fs";

/** Two for each client's connection that is being served, one for each tunnel, some for each cluster's files. */
const ENOUGH = 8_192;

/** Words for the owner where it is too low; undefined where it is well, or not to be known (no Linux). */
export function openFilesProblem(limits: string = read()): string | undefined {
  const [, hard = ""] = /^Max open files +\S+ +(\d+)/m.exec(limits) ?? [];
  if (hard === "" || Number(hard) >= ENOUGH) return undefined;
  return (
    `Only ${hard} files and sockets may be open at once (ulimit -Hn), which about ${Math.floor(Number(hard) / 2)} connections use up; ` +
    `then clients are turned away and workerd ends. Allow ${ENOUGH} or more: LimitNOFILE=65536 in a systemd unit, or ulimit -Hn 65536 as root.`
  );
}

function read(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
