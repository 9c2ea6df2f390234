// Files that only their owner may read. Each is replaced as a whole: whoever is ended in the middle, or finds the disk full, leaves the old
// one as it was.
import { closeSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { exitCodes, Failed, type FailedOptions } from "./failed.ts";

export type Content = string | Uint8Array;

/** What will take the file's place. Throws at once where it cannot be written. */
class Replacement {
  readonly #file: string;
  readonly #next: string;
  readonly #code: FailedOptions["code"];
  #open: number | undefined;

  constructor(file: string, code: FailedOptions["code"]) {
    this.#file = file;
    this.#next = `${file}.${process.pid}.new`;
    this.#code = code;
    this.#do(() => {
      // Of a process that was killed, and had this one's id.
      rmSync(this.#next, { force: true });
      this.#open = openSync(this.#next, "wx", 0o600);
    });
  }

  put(content: Content): void {
    this.#do(() => {
      if (this.#open !== undefined) writeFileSync(this.#open, content);
      renameSync(this.#next, this.#file);
    });
  }

  /** To be called at the end in any case. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open);
    rmSync(this.#next, { force: true });
  }

  #do(act: () => void): void {
    try {
      act();
    } catch (error) {
      throw cannotBeWritten(this.#file, error, this.#code);
    }
  }
}

export const cannotBeWritten = (file: string, error: unknown, code?: FailedOptions["code"]): Failed =>
  new Failed(`${file} cannot be written: ${(error as Error).message}`, code === undefined ? {} : { code });

/** `code`: what it ends with where the file cannot be written, which a person has mostly named. */
export function replaceOwn(file: string, content: Content, code: FailedOptions["code"] = exitCodes.usage): void {
  const replacement = new Replacement(file, code);
  try {
    replacement.put(content);
  } finally {
    replacement.close();
  }
}

/** See Effects.keepSecret. */
export async function keepSecret<T extends { readonly token: string }>(
  file: string,
  make: () => Promise<T>,
): Promise<T> {
  const replacement = new Replacement(file, exitCodes.usage);
  try {
    const made = await make();
    replacement.put(`${made.token}\n`);
    return made;
  } finally {
    replacement.close();
  }
}
