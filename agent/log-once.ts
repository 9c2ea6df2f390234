// Logs each warning once. Warnings come as whole lists, again and again, and a person wants to read only what is new.
export class LogOnce {
  readonly #warn: (text: string) => void;
  readonly #logged = new Map<string, ReadonlySet<string>>();

  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** `texts` is all that is wrong about `topic` now. A warning that vanished and comes back is logged again. */
  warn(topic: string, texts: readonly string[]): void {
    const before = this.#logged.get(topic);
    for (const text of new Set(texts)) if (before?.has(text) !== true) this.#warn(text);
    if (texts.length === 0) this.#logged.delete(topic);
    else this.#logged.set(topic, new Set(texts));
  }
}
