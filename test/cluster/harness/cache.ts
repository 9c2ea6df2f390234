// What is made once for this machine, and kept. Owns the folder; what broke off is never taken for a whole one.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";

export const cache = `${homedir()}/.cache/postern-cluster`;

/** The folder of that name, which is there already or which `make` fills: under another name until it is whole. */
export async function onceInCache(name: string, make: (partial: string) => Promise<void>): Promise<string> {
  const folder = `${cache}/${name}`;
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(`${cache}/partial-`);
  try {
    await make(partial);
    renameSync(partial, folder);
  } catch (error) {
    // Another one may have been quicker; then its result is as good.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}
