// The state folder of an edge: made for its user alone, trusted only if it is still so, locked for as long as the edge runs.
// Whoever could write here would be the edge's admin. What is wrong is said with the command that mends it; nothing is mended
// in silence, for the owner must know that others had access.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { holderOf, Lock } from "./lock.ts";
import { randomToken } from "./random-token.ts";

const TOKEN = /^[\x21-\x7e]{16,512}$/;

/** Makes what is missing. Throws, in words for its user, where it is another's or in use; then it has changed nothing. */
export function openStateFolder(folder: string): Lock {
  makeOurs(folder);
  const file = join(folder, "lock");
  const lock = Lock.take(file);
  if (lock === undefined)
    throw new Error(
      `${folder} is in use by another edge (${holderOf(file)}): stop that one, or give --state another folder. Nothing was changed.`,
    );
  try {
    for (const name of ["storage", "assets", "logs"]) makeOurs(join(folder, name));
  } catch (error) {
    lock.release();
    throw error;
  }
  return lock;
}

/** The admin's token from its file, which is made where there is none. */
export function adminToken(file: string): string {
  if (!existsSync(file)) writeFileSync(file, `${randomToken()}\n`, { mode: 0o600, flag: "wx" });
  const opened = openFile(file);
  try {
    mustBeOurs(file, fstatSync(opened), 0o077, "600");
    const token = readFileSync(opened, "utf8").trim();
    if (!TOKEN.test(token))
      throw new Error(`${file} must hold one token of 16 to 512 visible characters: delete it to get a new one`);
    return token;
  } finally {
    closeSync(opened);
  }
}

/** Replaced as a whole, and only where it differs: a full disk must not leave half of one that was good. */
export function keepFile(file: string, text: string): void {
  try {
    if (readFileSync(file, "utf8") === text) return;
  } catch {
    // It is not there, or not readable: written below.
  }
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function openFile(file: string): number {
  try {
    return openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new Error(
      `${file} cannot be read (${(cause as NodeJS.ErrnoException).code}): it must be a file of this user's, no link`,
      {
        cause,
      },
    );
  }
}

function makeOurs(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new Error(`${folder} cannot be made a folder (${(cause as NodeJS.ErrnoException).code}): see --state`, {
      cause,
    });
  }
  mustBeOurs(folder, lstatSync(folder), 0o022, "700");
}

/** `forbidden`: mode bits of others that it must not have. */
function mustBeOurs(path: string, { uid, mode }: Stats, forbidden: number, wanted: string): void {
  const us = process.getuid?.();
  if (us !== undefined && uid !== us)
    throw new Error(
      `${path} belongs to user ${uid}, not to the one who starts this edge (${us}), and is not trusted: chown ${us} ${path}`,
    );
  if ((mode & forbidden) !== 0)
    throw new Error(
      `${path} may be ${wanted === "600" ? "read" : "written"} by other users (mode ${(mode & 0o777).toString(8)}), and is not trusted: look at what is in it, then chmod ${wanted} ${path}`,
    );
}
