// Which bundle this process runs, to be compared with the one that its edge hands out.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** SHA-256 of the file, in hex, by which an edge names it as well. Undefined where it is no bundle: a checkout runs the sources. */
export function bundleHash(file: string): string | undefined {
  return file.endsWith(".mjs") ? createHash("sha256").update(readFileSync(file)).digest("hex") : undefined;
}
