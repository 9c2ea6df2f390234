// Numbers by which the rules know Service ports and endpoints. A number is a hash of its name, so that a restarted agent gives out
// the same ones (but for rare collisions), and what the kernel remembers of clients stays true. Owns its memory. Pure.
import { hash32 } from "../../../src/shared/balance/hash.ts";

export class Ids {
  readonly #size: number;
  readonly #byName = new Map<string, number>();
  readonly #taken = new Set<number>();

  /** Gives out 1 to `size` - 1. */
  constructor(size: number) {
    this.#size = size;
  }

  /** The name's number, from now on until release(). Undefined where all are taken. */
  of(name: string): number | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#taken.size >= this.#size - 1) return undefined;
    let id = hash32(name) % this.#size;
    while (id === 0 || this.#taken.has(id)) id = (id + 1) % this.#size;
    this.#taken.add(id);
    this.#byName.set(name, id);
    return id;
  }

  /** The number that the name has, if it has one. */
  known(name: string): number | undefined {
    return this.#byName.get(name);
  }

  release(name: string): void {
    const id = this.#byName.get(name);
    if (id === undefined) return;
    this.#byName.delete(name);
    this.#taken.delete(id);
  }

  get names(): Iterable<string> {
    return this.#byName.keys();
  }
}
