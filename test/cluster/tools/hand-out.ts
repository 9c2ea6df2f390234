// Another agent than the one that the edge was built with, handed out by the same edge: what an upgrade brings, and what is changed on
// its way. Whoever changes it puts it back.
import { readFileSync, writeFileSync } from "node:fs";
import manifest from "../../../package.json" with { type: "json" };
import { assetsOf } from "../../../src/host/workerd/agent-assets.ts";
import { keepAssets } from "../../../src/host/workerd/assets-folder.ts";
import { agentFilePath } from "../../../src/shared/control/agent-index.ts";
import { edgeAssets, handedOut } from "../harness/edge.ts";

const fileOf = (hash: string): string => edgeAssets + agentFilePath(hash);
const textOf = (hash: string): string => readFileSync(fileOf(hash), "utf8");

/** Hands out what `change` makes of the agent's text, as another version of the edge would. Call what it answers to undo that. */
export function handOutAnother(change: (main: string) => string): () => void {
  const before = handedOut();
  const bundle = { "main.mjs": textOf(before.main), "probe.mjs": textOf(before.probe) };
  keepAssets(edgeAssets, assetsOf({ ...bundle, "main.mjs": change(bundle["main.mjs"]) }, before.version));
  return () => keepAssets(edgeAssets, assetsOf(bundle, before.version));
}

/** The same agent, that says another version of itself. */
export const ofVersion =
  (version: string) =>
  (main: string): string => {
    const other = main.replaceAll(`version:"${manifest.version}"`, `version:"${version}"`);
    if (other === main) throw new Error(`the agent's bundle nowhere says version:"${manifest.version}"`);
    return other;
  };

/** One byte of the agent differs from what its hash says. Call what it answers to undo that. */
export function changeOneByte(): () => void {
  const file = fileOf(handedOut().main);
  const right = readFileSync(file);
  const wrong = Buffer.from(right);
  const at = wrong.length >> 1;
  wrong[at] = (wrong[at] ?? 0) ^ 1;
  writeFileSync(file, wrong);
  return () => writeFileSync(file, right);
}
