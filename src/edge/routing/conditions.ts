// Conditions of one Service, collected while it is compiled. One of each type, as in Kubernetes' list of conditions: what is
// said twice becomes one message. Sorted by type, so that the same findings are the same list.
import {
  type Condition,
  condition,
  CONDITION_MESSAGE_MAX,
  type ConditionName,
  conditionType,
  type PlainConditionName,
} from "../../shared/model/conditions.ts";

export class Conditions {
  readonly #byType = new Map<string, Condition>();

  constructor(found: readonly Condition[]) {
    for (const each of found) this.#byType.set(each.type, each);
  }

  /** Its name is also its reason. `message` is a sentence. `ports`: those that it is about. */
  add(name: PlainConditionName, message: string, ports?: readonly number[]): void {
    this.set(condition(name, name, message, ports === undefined ? {} : { ports }));
  }

  set(found: Condition): void {
    const { type, message } = found;
    const before = this.#byType.get(type);
    const same = before?.reason === found.reason ? before.message : "";
    const whole = same.includes(message) ? same : `${same} ${message}`.trimStart();
    this.#byType.set(type, { ...found, message: whole.slice(0, CONDITION_MESSAGE_MAX) });
  }

  has(name: ConditionName): boolean {
    return this.#byType.has(conditionType(name));
  }

  list(): Condition[] {
    return [...this.#byType.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
  }
}
