// What is asked anew each time, and has nothing to do with what was asked before.
import type { Target } from "./messages.ts";
import type { Tally } from "./tally.ts";

export class Anew {
  readonly #target: Target;
  readonly #tally: Tally;
  readonly #hear: (name: string) => void;
  readonly #nameOf: (target: Target) => Promise<string>;

  /** `nameOf` resolves to who answered. */
  constructor(target: Target, tally: Tally, hear: (name: string) => void, nameOf: (target: Target) => Promise<string>) {
    [this.#target, this.#tally, this.#hear, this.#nameOf] = [target, tally, hear, nameOf];
  }

  ask(): void {
    this.#tally.ask(this.#target.family, () => this.#nameOf(this.#target), this.#hear);
  }

  async end(): Promise<void> {
    await this.#tally.over();
  }
}
