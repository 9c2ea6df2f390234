// Runs the command `postern` as the admin does who has a login at the edge and a kubectl for the cluster: in the control plane's
// namespace. Each call is a process of its own.
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { adminToken, edgePlace } from "../harness/edge.ts";
import { control, edge, inside, kubeconfig, work } from "../harness/places.ts";

const root = new URL("../../..", import.meta.url).pathname;

/** One for all: kubectl keeps there what kinds the API server has, as it does for a person. It goes with the cluster. */
const home = `${work}/home`;

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface PosternOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Whose kubeconfig. */
  readonly user?: string;
  /** Starts the command that follows it: a program and its first arguments. */
  readonly within?: readonly string[];
  readonly timeout?: number;
}

/** Whatever its exit code is. */
export function postern(
  args: readonly string[],
  { environment = {}, user = "admin", within = [], timeout = 60_000 }: PosternOptions = {},
): Promise<Said> {
  const command = [...inside(control.netns), ...within, process.execPath, `${root}cli/main.ts`, ...args];
  const [program = "", ...rest] = command;
  const env = {
    PATH: `${work}:${process.env["PATH"]}`,
    HOME: home,
    KUBECONFIG: kubeconfig(user),
    POSTERN_EDGE: edgePlace.url,
    POSTERN_TOKEN: adminToken(),
    POSTERN_CLUSTER: edge.cluster,
    ...environment,
  };
  mkdirSync(home, { recursive: true });
  const from = performance.now();
  return new Promise((resolve) => {
    execFile(program, rest, { env, maxBuffer: 64 << 20, timeout }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? 1);
      resolve({ code, stdout, stderr, seconds: (performance.now() - from) / 1000 });
    });
  });
}
