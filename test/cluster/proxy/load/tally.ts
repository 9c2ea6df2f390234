// Counts of one kind of question. Knows which questions have neither answer nor failure yet.
import type { Family } from "../row.ts";
import type { Asked } from "./messages.ts";

const isPod = (name: string): boolean => /^[abc][12]$/.test(name);

/** Of the answer's first line. Throws where it is no pod of the load that answers: a packet that meets no rule comes to others. */
export function podOf(line: string): string {
  if (isPod(line)) return line;
  // A resident says more of itself.
  throw new Error(`answered by ${/"name":"([^"]+)"/.exec(line)?.[1] ?? line.slice(0, 20)}`);
}

export class Tally {
  readonly asked: Asked = { asked: 0, answered: 0, failed: {} };
  /** One for each question that is under way. */
  readonly #open = new Set<Promise<void>>();

  /** `work` returns who answered, or throws what came instead. */
  ask(family: Family, work: () => Promise<string>, hear: (name: string) => void): void {
    this.asked.asked += 1;
    const done = this.#done(family, work, hear).finally(() => this.#open.delete(done));
    this.#open.add(done);
  }

  async #done(family: Family, work: () => Promise<string>, hear: (name: string) => void): Promise<void> {
    try {
      hear(podOf(await work()));
      this.asked.answered += 1;
    } catch (error) {
      const reason = `${family} ${reasonOf(error)}`;
      this.asked.failed[reason] = (this.asked.failed[reason] ?? 0) + 1;
    }
  }

  async over(): Promise<void> {
    await Promise.all(this.#open);
  }
}

export function reasonOf(error: unknown): string {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  return code ?? message ?? "unknown";
}
