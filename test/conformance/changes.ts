// Waiting for something that others bring about: whoever changes it tells, whoever waits looks again.
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Something has changed. */
  tell(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Until a change makes it true; false where none does in time. */
  async until(met: () => boolean, withinMs: number): Promise<boolean> {
    if (met()) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), withinMs);
    const wake = () => met() && resolve(true);
    this.#waiting.add(wake);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(wake);
    }
  }
}
