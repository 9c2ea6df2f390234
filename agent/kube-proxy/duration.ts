// Durations as Go writes them, "1h30m" or "500ms" → milliseconds. Pure.

const UNITS: Readonly<Record<string, number>> = {
  ...{ ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 },
};
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;

/** Undefined where `text` is none. "0" needs no unit. Negative ones mean nothing here and are none. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  let sum = 0;
  let at = 0;
  for (PART.lastIndex = 0; at < text.length; at = PART.lastIndex) {
    const part = PART.exec(text);
    if (part === null) return undefined;
    sum += Number(part[1]) * (UNITS[part[2] ?? ""] ?? 0);
  }
  return text === "" ? undefined : sum;
}
