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
