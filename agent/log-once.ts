// Says each thing once: warnings come as whole lists, again and again, and a person wants to read only what is new.
export class Spoken {
  readonly #warn: (text: string) => void;
  readonly #said = new Map<string, ReadonlySet<string>>();

  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** All that is wrong about `topic` now. What vanished and comes back is said again. */
  say(topic: string, texts: readonly string[]): void {
    const before = this.#said.get(topic);
    for (const text of new Set(texts)) if (before?.has(text) !== true) this.#warn(text);
    if (texts.length === 0) this.#said.delete(topic);
    else this.#said.set(topic, new Set(texts));
  }
}
