// README.md and docs/, as they are: their blocks and commands. docs/reference.md is left out: what it shows is printed by --help.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Block, blocksOf, type Command, commandsOf } from "./blocks.ts";

export const root = new URL("../..", import.meta.url).pathname;

export const documents: readonly string[] = ["README.md", ...globSync("docs/*.md", { cwd: root }).sort()].filter(
  (path) => path !== "docs/reference.md",
);

export const blocks: readonly Block[] = documents.flatMap((path) =>
  blocksOf(path, readFileSync(join(root, path), "utf8")),
);

export const commands: readonly Command[] = blocks.flatMap(commandsOf);
