// The files source: a folder of Kubernetes YAML, watched live. Shell around scan, parse and merge: owns watchers and timers.
// Promise: a bad edit loses nothing. While a file is broken, empty, unreadable or half-written its last good content stays
// in use; a file counts as gone only when it stays away, for editors replace files by deleting and renaming.
// Survives a restart: nothing; the folder is the state.
import { type FSWatcher, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Observed, Source, SourceProblem } from "../source.ts";
import { merge } from "./merge.ts";
import { type LocatedObject, type ParsedFile, parseFile } from "./parse.ts";
import { FILE_MAX_BYTES, FILES_MAX, type Scan, scan } from "./scan.ts";

/** Changes come in bursts: one look for all of them. */
const BURST_MS = 25;
/** A changed file is read once it has stayed the same for so long. */
const QUIET_MS = 100;
/** A missing file is forgotten once it has been away for so long. */
const AWAY_MS = 300;
/** Looked at again without being told: watches may miss changes (network file systems, a full inotify table). */
const SAFETY_NET_MS = 5_000;
/** The folder itself cannot be read, and nothing tells when it can. */
const RETRY_MS = 1_000;

export function filesSource(folder: string): Source {
  return {
    subscribe(listener, onProblems = () => undefined) {
      const folderWatch = new FolderWatch(folder, listener, onProblems);
      return { [Symbol.dispose]: () => folderWatch.stop() };
    },
  };
}

interface FileState {
  /** What was read last, whether good or not. */
  signature: string;
  /** Seen, but not yet for long enough to be read. */
  changing: { readonly signature: string; readonly since: number } | undefined;
  missingSince: number | undefined;
  lastGood: readonly LocatedObject[] | undefined;
  current: ParsedFile;
}

class FolderWatch {
  readonly #folder: string;
  readonly #listener: (observed: Observed) => void;
  readonly #onProblems: (problems: readonly SourceProblem[]) => void;
  readonly #files = new Map<string, FileState>();
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #looking = false;
  #lookAgain = false;
  #stopped = false;
  #observed: Observed | undefined;
  #problems: readonly SourceProblem[] = [];

  constructor(folder: string, listener: (o: Observed) => void, onProblems: (p: readonly SourceProblem[]) => void) {
    this.#folder = folder;
    this.#listener = listener;
    this.#onProblems = onProblems;
    this.#lookIn(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
  }

  /** Looks after `ms`, or earlier where that is already planned. */
  #lookIn(ms: number): void {
    if (this.#stopped) return;
    if (this.#looking) this.#lookAgain = true;
    const at = performance.now() + ms;
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    this.#lookAgain = false;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const folderProblems: SourceProblem[] = [];
    let next = SAFETY_NET_MS;
    try {
      const found = await scan(this.#folder);
      if (this.#stopped) return;
      const newFolders = this.#watchFolders(found.folders);
      next = Math.min(next, await this.#readChanged(found), newFolders ? BURST_MS : next);
      if (found.tooMany) {
        const message = `more than ${FILES_MAX} files, the rest is not read. Is this the right folder? Use a smaller one.`;
        folderProblems.push({ where: this.#folder, message });
      }
    } catch (error) {
      const message = `cannot be read: ${(error as Error).message}. Create the folder, or name another one.`;
      folderProblems.push({ where: this.#folder, message });
      next = RETRY_MS;
      // Whatever comes in its place needs watches of its own.
      this.#watchFolders([]);
      // Never read at all: nothing to deliver yet.
      if (this.#observed === undefined) return this.#tellProblems(folderProblems);
    } finally {
      this.#looking = false;
      this.#lookIn(this.#lookAgain ? BURST_MS : next);
    }
    if (!this.#stopped) this.#deliver(folderProblems);
  }

  /** Reads what has changed and is quiet. Returns in how many ms the next look is due. */
  async #readChanged(found: Scan): Promise<number> {
    const now = performance.now();
    let next = SAFETY_NET_MS;
    for (const [name, { signature, size }] of found.files) {
      const state = this.#files.get(name);
      if (state?.signature === signature && state.changing === undefined) {
        state.missingSince = undefined;
        continue;
      }
      // At the start there is nothing to lose, so nothing to wait for.
      if (this.#observed !== undefined) {
        const changing = state?.changing?.signature === signature ? state.changing : { signature, since: now };
        const wait = changing.since + QUIET_MS - now;
        if (wait > 0) {
          this.#files.set(name, { ...(state ?? unread), changing, missingSince: undefined });
          next = Math.min(next, wait);
          continue;
        }
      }
      this.#files.set(name, await this.#read(name, signature, size, state?.lastGood));
    }
    for (const [name, state] of this.#files) {
      if (found.files.has(name)) continue;
      state.missingSince ??= now;
      if (now - state.missingSince >= AWAY_MS) this.#files.delete(name);
      else next = Math.min(next, AWAY_MS);
    }
    return next;
  }

  async #read(name: string, signature: string, size: number, lastGood: FileState["lastGood"]): Promise<FileState> {
    const current = await this.#parse(name, size, lastGood !== undefined);
    const good = current.problems.length === 0;
    return {
      signature,
      changing: undefined,
      missingSince: undefined,
      lastGood: good ? current.objects : lastGood,
      current,
    };
  }

  async #parse(name: string, size: number, hasLastGood: boolean): Promise<ParsedFile> {
    const broken = (message: string): ParsedFile => ({ objects: [], problems: [{ where: name, message }] });
    if (size > FILE_MAX_BYTES) return broken(`is larger than ${FILE_MAX_BYTES} bytes: split it`);
    try {
      const text = await readFile(join(this.#folder, name), "utf8");
      // What an editor leaves for a moment, or for ever when the disk is full.
      if (text === "" && hasLastGood) return broken("is empty. To remove its objects, delete the file");
      return parseFile(name, text);
    } catch (error) {
      return broken(`cannot be read: ${(error as Error).message}`);
    }
  }

  /** True where a folder is new: what was put into it before its watch began is found by looking once more. */
  #watchFolders(folders: readonly string[]): boolean {
    let added = false;
    for (const [folder, watcher] of this.#watchers) {
      if (folders.includes(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, () => this.#lookIn(BURST_MS));
        // Watching is only the fast way; the safety net goes on.
        watcher.on("error", () => this.#watchers.delete(folder));
        this.#watchers.set(folder, watcher);
        added = true;
      } catch {
        // As above: tried again at the next look.
      }
    }
    return added;
  }

  #deliver(folderProblems: readonly SourceProblem[]): void {
    const used = new Map<string, readonly LocatedObject[]>();
    const problems = [...folderProblems];
    for (const [name, { current, lastGood }] of this.#files) {
      // Broken from the start: better what can be read of it than nothing.
      used.set(name, lastGood ?? current.objects);
      const kept = lastGood === undefined ? "" : " (the last good content of this file stays in use)";
      for (const { where, message } of current.problems) problems.push({ where, message: message + kept });
    }
    const merged = merge(used);
    this.#tellProblems([...problems, ...merged.problems]);
    if (this.#stopped || isDeepStrictEqual(this.#observed, merged.observed)) return;
    this.#observed = merged.observed;
    this.#listener(merged.observed);
  }

  #tellProblems(problems: SourceProblem[]): void {
    problems.sort((a, b) => (a.where < b.where ? -1 : a.where > b.where ? 1 : 0));
    if (this.#stopped || isDeepStrictEqual(this.#problems, problems)) return;
    this.#problems = problems;
    this.#onProblems(problems);
  }
}

const unread: FileState = {
  signature: "",
  changing: undefined,
  missingSince: undefined,
  lastGood: undefined,
  current: { objects: [], problems: [] },
};
