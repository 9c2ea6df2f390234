// A log file of bounded size: lines are added, and past half the limit the file becomes <path>.1, in the place of the one before.
// What cannot be written (a full disk) is dropped, for a log must not end what it tells of. Survives restarts.
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";

const LIMIT_BYTES = 8 * 1024 * 1024;
const LINE_MAX = 16 * 1024;

export class LogFile {
  readonly path: string;
  readonly #half: number;
  #file: number | undefined;
  #size = 0;

  /** `limitBytes`: of both files together. */
  constructor(path: string, limitBytes = LIMIT_BYTES) {
    this.path = path;
    this.#half = limitBytes / 2;
  }

  write(line: string): void {
    try {
      if (this.#file === undefined) this.#open();
      else if (this.#size >= this.#half) {
        this.close();
        renameSync(this.path, `${this.path}.1`);
        this.#open();
      }
      if (this.#file !== undefined) this.#size += writeSync(this.#file, `${line.slice(0, LINE_MAX)}\n`);
    } catch {
      // As said above; the next line tries again.
    }
  }

  /** Of the program itself, not of what it logs: with the time, and marked. */
  note(words: string): void {
    this.write(`# ${new Date().toISOString()} ${words}`);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): void {
    this.#file = openSync(this.path, "a", 0o600);
    this.#size = fstatSync(this.#file).size;
  }
}
