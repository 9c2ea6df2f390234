// What several looks at the kernel come to. Pure.
import type { Checked } from "../executor.ts";

export const worstOf = (all: readonly Checked[]): Checked =>
  (["changed", "due"] as const).find((each) => all.includes(each)) ?? "intact";
