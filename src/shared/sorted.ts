// Lists that are sorted by a name that each item has alone, and whose items are the same objects for as long as they do not change.

/** One item that came (no `before`), went (no `after`), or is another object under the same name. */
export interface Difference<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/** Two names' order, as of Array.sort. */
export type Order<T> = (a: T, b: T) => number;

/** What is not the same object in both lists, in their order. Names are compared only there: what is the same costs next to nothing. */
export function differences<T>(before: readonly T[], after: readonly T[], order: Order<T>): readonly Difference<T>[] {
  const found: Difference<T>[] = [];
  let [at, next] = [0, 0];
  while (at < before.length || next < after.length) {
    const old = before[at];
    const now = after[next];
    if (old === now) {
      at++;
      next++;
      continue;
    }
    const first = old === undefined ? 1 : now === undefined ? -1 : order(old, now);
    found.push({ before: first <= 0 ? old : undefined, after: first >= 0 ? now : undefined });
    if (first <= 0) at++;
    if (first >= 0) next++;
  }
  return found;
}

/** Of each item of `after`: at which place of `before` the same object is, if it is there. */
export function placesBefore<T>(before: readonly T[], after: readonly T[], order: Order<T>): (number | undefined)[] {
  let at = 0;
  return after.map((item) => {
    while (at < before.length && before[at] !== item && order(before[at] as T, item) < 0) at++;
    return before[at] === item ? at++ : undefined;
  });
}

/** Where the item of a name is, or where it belongs: the number of items before it. `order`: of an item beside that name. */
export function placeIn<T>(list: readonly T[], order: (item: T) => number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order(list[middle] as T) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** As of Array.sort, by UTF-16 code units. */
export const compareText: Order<string> = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
