// What lies in the folder now: YAML and JSON files, with a signature that changes when a file does, and all folders to
// watch. Reads no file's content. Links to files are followed (a mounted ConfigMap is made of them), links to folders are not.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** Files beyond this are not read: the folder is probably the wrong one. */
export const FILES_MAX = 2_000;
/** Bytes of one file. */
export const FILE_MAX_BYTES = 8 * 1024 * 1024;
const DEPTH_MAX = 16;

export interface Scan {
  /** Path relative to the folder → signature and size. */
  readonly files: ReadonlyMap<string, { readonly signature: string; readonly size: number }>;
  /** Absolute paths, the folder itself first. */
  readonly folders: readonly string[];
  readonly tooMany: boolean;
}

/** Throws where the folder itself cannot be listed. */
export async function scan(root: string): Promise<Scan> {
  const files = new Map<string, { signature: string; size: number }>();
  const folders = [root];
  let tooMany = false;

  const visit = async (folder: string, prefix: string, depth: number): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      // Hidden: editors' swap files, .git, a ConfigMap's own bookkeeping.
      if (entry.name.startsWith(".")) continue;
      const path = join(folder, entry.name);
      const name = prefix + entry.name;
      if (entry.isDirectory() && depth < DEPTH_MAX) {
        folders.push(path);
        await visit(path, `${name}/`, depth + 1).catch(ignoreVanished);
      } else if (/\.(ya?ml|json)$/i.test(entry.name)) {
        if (files.size >= FILES_MAX) {
          tooMany = true;
          return;
        }
        const facts = await stat(path).catch(ignoreVanished);
        if (!facts?.isFile()) continue;
        files.set(name, {
          signature: `${facts.ino} ${facts.size} ${facts.mtimeMs} ${facts.ctimeMs}`,
          size: facts.size,
        });
      }
    }
  };
  await visit(root, "", 0);
  return { files, folders, tooMany };
}

/** Gone between listing and looking: the next scan tells. Anything else (permissions) shows when the file is read. */
function ignoreVanished(): undefined {
  return undefined;
}
