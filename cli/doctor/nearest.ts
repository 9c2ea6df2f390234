// Which of the names that there are is most likely meant by one that there is not. Pure.

/** Fewest letters to add, take away, change or swap with the next one. */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** 0: the same; 1: nothing in common. */
export const difference = (a: string, b: string): number => {
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 0 : distance(a.toLowerCase(), b.toLowerCase()) / longest;
};

/** The nearest of `known`, if half of it or more is alike. */
export function nearest(meant: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((name) => ({ name, far: difference(meant, name) }))
    .sort((a, b) => a.far - b.far || (a.name < b.name ? -1 : 1));
  return best !== undefined && best.far <= 0.5 ? best.name : undefined;
}

type Labels = Readonly<Record<string, string>>;

export interface NearestLabels<T> {
  readonly candidate: T;
  /** The selector's entries that it lacks, each with what it has in its place; undefined: nothing alike. */
  readonly instead: readonly {
    readonly key: string;
    readonly value: string;
    readonly has?: readonly [string, string];
  }[];
}

/** Made by controllers for each generation of pods: nobody means to select them. */
const GENERATED =
  /^(pod-template-hash|controller-revision-hash|pod-template-generation|statefulset\.kubernetes\.io\/pod-name|apps\.kubernetes\.io\/pod-index|batch\.kubernetes\.io\/.*|job-name|controller-uid)$/;

/** What an entry of the selector costs that the labels do not have: less than 1 where the same key or the same value is there. */
function instead(
  key: string,
  value: string,
  labels: Labels,
): { readonly cost: number; readonly has?: [string, string] } {
  if (labels[key] === value) return { cost: 0, has: [key, value] };
  const [best] = Object.entries(labels)
    .filter(([each]) => !GENERATED.test(each))
    .map(([k, v]) => ({
      has: [k, v] as [string, string],
      cost: k === key ? 0.1 + 0.5 * difference(value, v) : v === value ? 0.2 + 0.5 * difference(key, k) : 1,
    }))
    .sort((a, b) => a.cost - b.cost || (a.has[0] < b.has[0] ? -1 : 1));
  return best === undefined || best.cost >= 1 ? { cost: 1 } : best;
}

/** The candidate whose labels are most like the selector. Undefined where none has a thing in common with it. */
export function nearestLabels<T extends { readonly labels: Labels }>(
  selector: Labels,
  candidates: readonly T[],
): NearestLabels<T> | undefined {
  const entries = Object.entries(selector);
  const [best] = candidates
    .map((candidate) => {
      const found = entries.map(([key, value]) => ({ key, value, ...instead(key, value, candidate.labels) }));
      return { candidate, found, cost: found.reduce((sum, { cost }) => sum + cost, 0) };
    })
    .sort((a, b) => a.cost - b.cost);
  if (best === undefined || best.cost >= entries.length) return undefined;
  return {
    candidate: best.candidate,
    instead: best.found
      .filter(({ cost }) => cost > 0)
      .map(({ key, value, has }) => ({ key, value, ...(has === undefined ? {} : { has }) })),
  };
}

/** Whether labels are what a Service's selector asks for. */
export const selects = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([key, value]) => labels[key] === value);
