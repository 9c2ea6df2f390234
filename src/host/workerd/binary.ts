// Where workerd is.
import { createRequire } from "node:module";

/** The program that wrangler brings. */
export function workerdBinary(): string {
  const { default: path } = createRequire(import.meta.url)("workerd") as { default: string };
  return path;
}
