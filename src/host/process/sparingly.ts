// Lines for a terminal that somebody reads: no more than a few in a while, however many a peer makes us write.

const LINES = 20;
const LINE_MAX = 500;
const WHILE_MS = 10_000;

/** `more`: where those are that were left out. `now`: milliseconds. */
export function sparingly(
  say: (line: string) => void,
  more: string,
  now: () => number = () => performance.now(),
): (line: string) => void {
  let begun = Number.NEGATIVE_INFINITY;
  let lines = 0;
  return (line) => {
    if (now() - begun >= WHILE_MS) {
      if (lines > LINES) say(`(${lines - LINES} lines more, see ${more})`);
      [begun, lines] = [now(), 0];
    }
    lines++;
    if (lines <= LINES) say(line.slice(0, LINE_MAX));
  };
}
