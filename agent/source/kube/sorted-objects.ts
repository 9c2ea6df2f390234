// The objects of one kind as a sorted list, which is kept while objects change one by one: sorting ten thousand anew for each would
// take longer than all else that is done of the change. A list that was handed out never changes. Owns the list.
import { placeIn } from "../../../src/shared/sorted.ts";
import { byName } from "../order.ts";
import type { KubeObject } from "../resources.ts";

/** More changes than this at once, and sorting anew is cheaper. */
const ONE_BY_ONE_MAX = 256;

export class SortedObjects {
  #list: readonly KubeObject[] = [];
  /** Keys of what may be different from the list. Undefined: everything. */
  #changed: Set<string> | undefined;

  /** `key`: of the object that is another one now, or has come or gone; absent: of any. */
  changed(key?: string): void {
    if (key === undefined || (this.#changed?.size ?? 0) >= ONE_BY_ONE_MAX) this.#changed = undefined;
    else this.#changed?.add(key);
  }

  /** The list is as the objects were at the last read(). */
  get isFresh(): boolean {
    return this.#changed?.size === 0;
  }

  /** `objects`: all of them now, by "namespace/name" or "name". */
  read(objects: ReadonlyMap<string, KubeObject>): readonly KubeObject[] {
    if (this.#changed === undefined) this.#list = [...objects.values()].sort(byName);
    else if (this.#changed.size > 0) this.#list = replaced(this.#list, this.#changed, objects);
    this.#changed = new Set();
    return this.#list;
  }
}

function replaced(
  list: readonly KubeObject[],
  keys: Iterable<string>,
  objects: ReadonlyMap<string, KubeObject>,
): readonly KubeObject[] {
  const next = [...list];
  for (const key of keys) {
    const slash = key.indexOf("/");
    const named = { metadata: { namespace: key.slice(0, Math.max(0, slash)), name: key.slice(slash + 1) } };
    const at = placeIn(next, (item) => byName(item, named));
    const found = next[at];
    const isThere = found !== undefined && byName(found, named) === 0;
    const object = objects.get(key);
    next.splice(at, isThere ? 1 : 0, ...(object === undefined ? [] : [object]));
  }
  return next;
}
