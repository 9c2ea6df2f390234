// Conditions of one Service, collected while it is compiled. One of each type, as in Kubernetes' list of conditions: what is
// said twice becomes one message. Sorted by type, so that the same findings are the same list.
import type { Condition } from "../../shared/model/snapshot.ts";

const MESSAGE_MAX = 4096;

export class Conditions {
  readonly #byType = new Map<string, Condition>();

  constructor(found: readonly Condition[]) {
    for (const condition of found) this.#byType.set(condition.type, condition);
  }

  /** `type` without "postern.dev/", which is also the reason. `message` is a sentence. `ports`: those that it is about. */
  add(type: string, message: string, ports?: readonly number[]): void {
    const about = ports === undefined ? {} : { ports: [...ports] };
    this.set({ type: `postern.dev/${type}`, status: "True", reason: type, message, ...about });
  }

  set(condition: Condition): void {
    const { type, message } = condition;
    const before = this.#byType.get(type);
    const same = before?.reason === condition.reason ? before.message : "";
    const whole = same.includes(message) ? same : `${same} ${message}`.trimStart();
    this.#byType.set(type, { ...condition, message: whole.slice(0, MESSAGE_MAX) });
  }

  has(type: string): boolean {
    return this.#byType.has(`postern.dev/${type}`);
  }

  list(): Condition[] {
    return [...this.#byType.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
  }
}
