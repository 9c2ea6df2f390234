// Where workerd is.
import { createRequire } from "node:module";

/** The program that wrangler brings, from where wrangler finds it. */
export function workerdBinary(): string {
  const wrangler = createRequire(import.meta.url).resolve("wrangler");
  const { default: path } = createRequire(wrangler)("workerd") as { default: string };
  return path;
}
