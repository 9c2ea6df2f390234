// A lock that its holder's death ends, however it died: the operating system's own lock on a file, as SQLite takes it (Node.js
// has no call for one). Holds between containers that share the file, where a process id in a file says nothing. The file
// stays when the lock is released, for removing it would let two hold it; beside it stands who took it last, for people.
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

const SQLITE_BUSY = 5;

export class Lock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Undefined: somebody else has held it for all of `waitMs`. Throws where `file` cannot be locked at all. */
  static take(file: string, waitMs = 0): Lock | undefined {
    let database: DatabaseSync | undefined;
    try {
      // Nobody else may read it, for a reader keeps us out. (Opened and closed while it is locked, it would be free: POSIX.)
      if (!existsSync(file)) closeSync(openSync(file, "a", 0o600));
      database = new DatabaseSync(file, { timeout: waitMs });
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (cause) {
      database?.close();
      if (cause instanceof Error && "errcode" in cause && cause.errcode === SQLITE_BUSY) return undefined;
      throw new Error(`${file} cannot be locked (${String(cause)}): delete it, or use a folder on a local disk`, {
        cause,
      });
    }
    writeFileSync(holderFile(file), `pid ${process.pid}, since ${new Date().toISOString()}\n`, { mode: 0o600 });
    return new Lock(database);
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

/** Of a lock that could not be taken: "pid 4711, since 2026-11-27T01:45:00.000Z". */
export function holderOf(file: string): string {
  try {
    return readFileSync(holderFile(file), "utf8").trim() || "pid unknown";
  } catch {
    return "pid unknown";
  }
}

const holderFile = (file: string): string => `${file}.holder`;
