// Rounds of probes of one cluster, one after the other, because each asks every agent. Who asks what a round that runs or waits will
// ask shares its answer; and few may wait, because each has a person behind it who wants an answer soon. Lost with its owner.

/** Rounds that run or wait. */
const OPEN_MAX = 2;

export class Rounds<Answer> {
  readonly #open = new Map<string, Promise<Answer>>();
  #tail: Promise<unknown> = Promise.resolve();

  /** Undefined: too many wait. `question`: names what is asked. */
  ask(question: string, round: () => Promise<Answer>): Promise<Answer> | undefined {
    const shared = this.#open.get(question);
    if (shared !== undefined || this.#open.size >= OPEN_MAX) return shared;
    const answer = this.#tail.then(round).finally(() => this.#open.delete(question));
    this.#open.set(question, answer);
    this.#tail = answer.catch(() => undefined);
    return answer;
  }
}
