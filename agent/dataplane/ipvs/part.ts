// Things of one kind in the kernel, each under its key: what is there as far as we know, and how it becomes what is wanted. They are
// independent of each other, so one that the kernel refuses keeps no other from being there: the program says which it was, or it is
// found by halves.
import { slices } from "../iptables/restore.ts";
import { oneLine } from "../kernel/ran.ts";
import type { Ran } from "../kernel/run.ts";
import type { Tools } from "./tools.ts";

/** How a kind is listed and written. */
export interface Kind<Value> {
  readonly list: (tools: Tools) => Promise<ReadonlyMap<string, Value>>;
  /** The lines that turn `from` into `to`; none where it is that already. */
  readonly lines: (key: string, from: Value | undefined, to: Value | undefined) => readonly string[];
  /** What is there after these lines. */
  readonly after: (key: string, from: Value | undefined, to: Value) => Value;
  readonly run: (tools: Tools, lines: readonly string[]) => Promise<Ran>;
  /** Which of these keys a run that failed has shown to be refused, where they are not there after it. Absent: that is not told. */
  readonly refused?: (ran: Ran, keys: readonly string[]) => readonly string[];
}

/** So many runs may fail to find what is refused. What a run after them leaves undone is taken to be refused. */
const FAILURES_MAX = 200;

export class Part<Value> {
  readonly #kind: Kind<Value>;
  readonly #tools: Tools;
  #known = new Map<string, Value>();

  constructor(kind: Kind<Value>, tools: Tools) {
    this.#kind = kind;
    this.#tools = tools;
  }

  get known(): ReadonlyMap<string, Value> {
    return this.#known;
  }

  /** Rejects where nothing can be listed. */
  async list(): Promise<ReadonlyMap<string, Value>> {
    return await this.#kind.list(this.#tools);
  }

  /** What is there; `isOurs` says which of it is to be known at all. */
  async load(isOurs: (key: string) => boolean = () => true): Promise<void> {
    this.#known = new Map([...(await this.list())].filter(([key]) => isOurs(key)));
  }

  /** It was listed as it is now. */
  note(key: string, value: Value | undefined): void {
    if (value === undefined) this.#known.delete(key);
    else this.#known.set(key, value);
  }

  /**
   * Makes these keys what they are in `wanted`. Returns what the kernel refused, with what the program said of it. Rejects where
   * the program can do nothing on this node.
   */
  async write(
    keys: Iterable<string>,
    wanted: (key: string) => Value | undefined,
  ): Promise<ReadonlyMap<string, string>> {
    const refused = new Map<string, string>();
    let failures = 0;
    const attempt = async (part: readonly string[]): Promise<void> => {
      const changes = part.map((key) => ({ key, lines: this.#kind.lines(key, this.#known.get(key), wanted(key)) }));
      const pending = changes.filter(({ lines }) => lines.length > 0);
      if (pending.length === 0) return;
      const names = pending.map(({ key }) => key);
      const ran = await this.#kind.run(
        this.#tools,
        pending.flatMap(({ lines }) => lines),
      );
      if (ran.code === 0) {
        for (const key of names) this.#settle(key, wanted(key));
        return;
      }
      // Some of the lines may have done their work.
      const listed = await this.list();
      for (const key of names) this.note(key, listed.get(key));
      const left = names.filter((key) => this.#kind.lines(key, this.#known.get(key), wanted(key)).length > 0);
      const shown = new Set(names.length === 1 ? names : this.#kind.refused?.(ran, names));
      const rest = left.filter((key) => !shown.has(key));
      for (const key of left) if (shown.has(key)) refused.set(key, oneLine(ran.stderr));
      if (failures++ >= FAILURES_MAX)
        for (const key of rest) refused.set(key, "too much was refused before it; mend that first");
      else if (rest.length < left.length) await attempt(rest);
      else for (const half of slices(left, Math.ceil(left.length / 2))) await attempt(half);
    };
    await attempt([...keys]);
    return refused;
  }

  #settle(key: string, to: Value | undefined): void {
    this.note(key, to === undefined ? undefined : this.#kind.after(key, this.#known.get(key), to));
  }
}
