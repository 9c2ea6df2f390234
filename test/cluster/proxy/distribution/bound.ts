// How far counts may be from what is expected. Pure.

/**
 * A count of so many standard deviations off is chance in one of 25 million counts: of the 30 counts of a run, once in a
 * million runs.
 */
export const SIGMAS = 5.5;

/** What one endpoint may get of `all` connections of which it should get `share`, 0 to 1; `slack` is added to both sides. */
export function bounds(all: number, share: number, slack: number): { readonly from: number; readonly to: number } {
  const mean = all * share;
  const off = SIGMAS * Math.sqrt(all * share * (1 - share)) + slack * all;
  return { from: Math.ceil(mean - off), to: Math.floor(mean + off) };
}

/** What is wrong, in words; undefined: all counts are within their bounds, and nobody else was counted. */
export function faultOf(
  counts: ReadonlyMap<string, number>,
  shares: Readonly<Record<string, number>>,
  slack = 0,
): string | undefined {
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const strangers = [...counts.keys()].filter((name) => shares[name] === undefined);
  if (strangers.length > 0) return `answered by ${strangers.join(", ")}`;
  const outside = Object.entries(shares).flatMap(([name, share]) => {
    const { from, to } = bounds(all, share, slack);
    const count = counts.get(name) ?? 0;
    return count < from || count > to ? [`${name} has ${count}, not ${from} to ${to}`] : [];
  });
  return outside.length === 0 ? undefined : outside.join("; ");
}
