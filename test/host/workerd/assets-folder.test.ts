// What an edge goes on to hand out of the versions before, and whether it knows a damaged file.
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { assetsOf } from "../../../src/host/workerd/agent-assets.ts";
import { assetsAreWhole, keepAssets } from "../../../src/host/workerd/assets-folder.ts";
import { agentFilePath, agentIndexPath, agentIndexSchema } from "../../../src/shared/control/agent-index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-assets-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const assets = (agent: string) => assetsOf({ "main.mjs": agent, "probe.mjs": "probe" }, "1.2.3");
const index = () => agentIndexSchema.parse(JSON.parse(readFileSync(join(folder, agentIndexPath), "utf8")));
const fileOf = (hash: string) => join(folder, agentFilePath(hash));
const text = (hash: string) => readFileSync(fileOf(hash), "utf8");

/** Makes it today's; `age`: how many hours ago that was. Its hash. */
function keep(agent: string, age = 0): string {
  keepAssets(folder, assets(agent));
  const { main, probe } = index();
  const then = new Date(Date.now() - age * 3_600_000);
  for (const hash of [main, probe]) utimesSync(fileOf(hash), then, then);
  return main;
}

it("files lie under the hashes of their bytes, and the index says which are today's", () => {
  expect(keep("agent")).toBe("d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824");
  expect(index().version).toBe("1.2.3");
  expect(text(index().main)).toBe("agent");
  expect(text(index().probe)).toBe("probe");
  expect(assetsAreWhole(folder)).toBe(true);
});

it("older ones stay, the six that were today's last", () => {
  const hashes = Array.from({ length: 9 }, (_, at) => keep(`agent ${at}`, 20 - at));
  expect(hashes.map((hash) => (tryText(hash) === undefined ? "gone" : "there"))).toEqual([
    ...["gone", "gone", "there", "there", "there", "there", "there", "there"],
    "there",
  ]);
  expect(index().main).toBe(hashes[8]);
});

it("one that becomes today's again counts as new", () => {
  const first = keep("agent", 20);
  for (let at = 0; at < 3; at++) keep(`agent ${at}`, 10 - at);
  keep("agent");
  for (let at = 3; at < 8; at++) keep(`agent ${at}`);
  expect(tryText(first)).toBe("agent");
});

function tryText(hash: string): string | undefined {
  try {
    return text(hash);
  } catch {
    return undefined;
  }
}

it.each<[what: string, damage: () => void]>([
  ["a byte that differs", () => writeFileSync(fileOf(index().main), "Agent")],
  ["a file that is gone", () => rmSync(fileOf(index().probe))],
  ["half of an index", () => writeFileSync(join(folder, agentIndexPath), '{"version":')],
  ["no index", () => rmSync(join(folder, agentIndexPath))],
])("is not whole: %s", (_, damage) => {
  keep("agent");
  damage();
  expect(assetsAreWhole(folder)).toBe(false);
  keep("agent");
  expect(assetsAreWhole(folder)).toBe(true);
});
