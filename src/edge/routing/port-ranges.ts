// A list of TCP ports as its owner writes it: "80,443,8000-8999". Pure.

/** [first, last], both included. */
export type PortRanges = readonly (readonly [number, number])[];

const PORT_MAX = 65_535;
const RANGES_MAX = 1_000;

/** Undefined where the text is no such list. */
export function parsePortRanges(text: string): PortRanges | undefined {
  const parts = text.split(",");
  if (parts.length > RANGES_MAX) return undefined;
  const ranges: (readonly [number, number])[] = [];
  for (const part of parts) {
    const [, from = "", to = from] = /^\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*$/.exec(part) ?? [];
    const [first, last] = [Number(from), Number(to)];
    if (!(first >= 1 && first <= last && last <= PORT_MAX)) return undefined;
    ranges.push([first, last]);
  }
  return ranges;
}

export function inRanges(ranges: PortRanges, port: number): boolean {
  return ranges.some(([first, last]) => port >= first && port <= last);
}

/** All of `ranges` but `port`: 80-90 without 85 => 80-84, 86-90 */
export function without(ranges: PortRanges, port: number): PortRanges {
  return ranges.flatMap(([first, last]): PortRanges => {
    if (port < first || port > last) return [[first, last]];
    const halves: PortRanges = [
      [first, port - 1],
      [port + 1, last],
    ];
    return halves.filter(([from, to]) => from <= to);
  });
}

/** As parsePortRanges() reads it. */
export function formatPortRanges(ranges: PortRanges): string {
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(",");
}
