// The folder of static assets that the Worker is given: today's agent, and those of the versions before, so that a pod whose manifest
// names an older bundle still starts until that manifest has been applied anew. On an edge of one's own it is in the state folder;
// for Cloudflare it is what `wrangler deploy` uploads. Each file is replaced as a whole, and the index is the last one written.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  AGENT_FILE,
  AGENT_PATH,
  agentFilePath,
  agentIndexPath,
  agentIndexSchema,
} from "../../shared/control/agent-index.ts";

/** Files of versions before that are kept: two a version, less where the probe stayed the same. */
const KEPT = 6;

/** `assets`: as agentAssets() makes them. The order of old files is by when each was last today's. */
export function keepAssets(folder: string, assets: Readonly<Record<string, string>>): void {
  // The index names the others, so they are there first.
  const paths = Object.keys(assets).sort(
    (one, other) => Number(one === agentIndexPath) - Number(other === agentIndexPath),
  );
  for (const path of paths) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.new`, assets[path] ?? "");
    renameSync(`${file}.new`, file);
    const now = new Date();
    utimesSync(file, now, now);
  }
  const agents = join(folder, AGENT_PATH);
  const old = readdirSync(agents)
    .filter((name) => AGENT_FILE.test(name) && assets[AGENT_PATH + name] === undefined)
    .sort((one, other) => statSync(join(agents, other)).mtimeMs - statSync(join(agents, one)).mtimeMs);
  for (const name of old.slice(KEPT)) rmSync(join(agents, name));
}

/** As they were given to keepAssets() last; those of versions before are left out. */
export function readAssets(folder: string): Readonly<Record<string, string>> {
  const index = readFileSync(join(folder, agentIndexPath), "utf8");
  const { main, probe } = agentIndexSchema.parse(JSON.parse(index));
  const files = [main, probe].map((hash) => agentFilePath(hash));
  return {
    ...Object.fromEntries(files.map((path) => [path, readFileSync(join(folder, path), "utf8")])),
    [agentIndexPath]: index,
  };
}

/** The index is there, and every file that it names has the bytes that it says. */
export function assetsAreWhole(folder: string): boolean {
  try {
    const { main, probe } = agentIndexSchema.parse(JSON.parse(readFileSync(join(folder, agentIndexPath), "utf8")));
    return [main, probe].every((hash) => {
      const content = readFileSync(join(folder, agentFilePath(hash)));
      return createHash("sha256").update(content).digest("hex") === hash;
    });
  } catch {
    return false;
  }
}
