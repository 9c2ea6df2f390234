// Holds what a run of Kubernetes' tests found against what was expected. Pure: text and tables in, words out.
import { z } from "zod";
import type { Spec } from "./expectations.ts";

/** A line that e2e/e2e_test.go writes for each spec it finished. */
const resultSchema = z.object({ name: z.string(), state: z.string(), seconds: z.number(), message: z.string() });
export type Result = z.infer<typeof resultSchema>;

/** A last line that was cut short, since the run broke off, counts as not written. */
export function parseResults(text: string): Result[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => resultSchema.parse(JSON.parse(line)));
}

/** Runs of the same specs beside each other, by name: a line for each spec with how it went in each, "-" where it has not run. */
export function table(columns: Readonly<Record<string, readonly Result[]>>): string[] {
  const all = Object.values(columns);
  const width = Math.max(...Object.keys(columns).map((name) => name.length), ...states.map((state) => state.length));
  const row = (cells: readonly string[], name: string) => [...cells.map((cell) => cell.padEnd(width)), name].join("  ");
  const names = [...new Set(all.flatMap((results) => results.map(({ name }) => name)))].sort();
  const cells = (name: string) => all.map((results) => results.find((each) => each.name === name)?.state ?? "-");
  const totals = all.map((results) => `${results.filter(({ state }) => state === "passed").length} passed`);
  return [
    row(Object.keys(columns), "spec"),
    ...names.map((name) => row(cells(name), name)),
    row(totals, `of ${names.length}`),
  ];
}
/** Ginkgo's usual words, for the width of a column. */
const states = ["passed", "skipped", "failed", "99 passed"];

export interface Verdict {
  /** One line for each spec that went otherwise than expected; none: all is well. */
  readonly differences: readonly string[];
  /** "N passed, M skipped, K failed" */
  readonly summary: string;
}

/** `specs`: those that were selected, without any that is left out. */
export function judge(specs: readonly Spec[], results: readonly Result[]): Verdict {
  const found = new Map(results.map((result) => [result.name, result]));
  const differences: string[] = [];
  for (const { name, expected } of specs) {
    const result = found.get(name);
    if (result === undefined) differences.push(`did not run: ${name}`);
    else if (result.state !== expected) {
      differences.push(`${result.state}, expected ${expected}: ${name}${result.message && `\n  ${result.message}`}`);
    }
  }
  const known = new Set(specs.map(({ name }) => name));
  for (const { name } of results) if (!known.has(name)) differences.push(`not in expectations.ts: ${name}`);
  const count = (state: string): number => results.filter((result) => result.state === state).length;
  const [passed, skipped] = [count("passed"), count("skipped")];
  return { differences, summary: `${passed} passed, ${skipped} skipped, ${results.length - passed - skipped} failed` };
}
