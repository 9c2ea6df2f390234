// Objects as written → Observed, through the same parser as a file's.
import { parseFile } from "../../../agent/source/files/parse.ts";
import { merge } from "../../../agent/source/files/merge.ts";
import type { Observed } from "../../../agent/source/source.ts";
import type { Written } from "../source/objects.ts";

export function observe(...objects: readonly Written[]): Observed {
  const { objects: parsed, problems } = parseFile("f", objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const merged = merge(new Map([["f", parsed]]));
  if (merged.problems.length > 0) throw new Error(JSON.stringify(merged.problems));
  return merged.observed;
}
