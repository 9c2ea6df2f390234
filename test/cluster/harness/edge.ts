// The edge of the test cluster: `npm run edge` in the control plane's namespace, where a router or a cloud would be. Its state
// is in `work`/edge. Left alone where it runs as asked; started anew, with its state, where its code has changed or it shall
// refuse in another way.
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AgentIndex, agentIndexPath, agentIndexSchema } from "../../../src/shared/control/agent-index.ts";
import { run, succeeds } from "./command.ts";
import { control, edge, inside } from "./places.ts";
import { endProcess, ensureProcess, isRunning, logOf, until } from "./processes.ts";

export interface EdgePlace {
  readonly url: string;
  readonly domain: string;
  readonly address: string;
}

export type Refuse = "answer" | "reset";

export const edgePlace: EdgePlace = {
  url: `http://${control.address}:${edge.port}`,
  domain: edge.domain,
  address: control.address,
};

const root = new URL("../../..", import.meta.url).pathname;
/** How it was started: the way it refuses, and the hash of its code. */
const started = `${edge.folder}/started`;

export async function ensureEdge(refuse: Refuse): Promise<void> {
  mkdirSync(edge.folder, { recursive: true });
  const running = existsSync(started) ? readFileSync(started, "utf8") : "";
  const wanted = `${refuse} ${codeHash()}`;
  if (isRunning("edge") && running !== wanted) await endProcess("edge", "SIGTERM");
  writeFileSync(started, wanted);
  ensureProcess("edge", [
    ...[...inside(control.netns), process.execPath, `${root}src/host/main.ts`],
    ...["--address", control.address, "--domain", edge.domain, "--port", String(edge.port)],
    ...["--state", `${edge.folder}/state`, "--refuse", refuse],
  ]);
  await until(`the edge serves; see ${logOf("edge")}`, () =>
    succeeds([...inside(control.netns), "curl", "-sf", "-o", "/dev/null", `${edgePlace.url}/healthz`]),
  );
}

function codeHash(): string {
  const hash = createHash("sha256");
  // It hands out the agent, too.
  for (const file of ["package-lock.json", "wrangler.toml", ...globSync("{src,agent}/**/*.ts", { cwd: root }).sort()])
    hash.update(file).update(readFileSync(`${root}${file}`));
  return hash.digest("hex");
}

/** The folder of the files that it hands out, which it reads anew for each question. */
export const edgeAssets = `${edge.folder}/state/assets`;

/** The agent that it hands out now. */
export const handedOut = (): AgentIndex =>
  agentIndexSchema.parse(JSON.parse(readFileSync(edgeAssets + agentIndexPath, "utf8")));

export const adminToken = (): string => readFileSync(`${edge.folder}/state/admin-token`, "utf8").trim();

/** The control API, as the admin. `path`: below /api/v1. */
export async function edgeApi(method: string, path: string, body?: object): Promise<unknown> {
  const answer = await run(
    [
      ...[...inside(control.netns), "curl", "-sS", "--fail-with-body", "-X", method, "-H", "@-"],
      ...(body === undefined ? [] : ["-H", "content-type: application/json", "--data", JSON.stringify(body)]),
      `${edgePlace.url}/api/v1${path}`,
    ],
    { input: `authorization: Bearer ${adminToken()}\n` },
  );
  return answer === "" ? undefined : JSON.parse(answer);
}
