// Faults in the terminal: at most one line a second, because strangers can cause them, and how many were left out.

/** The returned function takes one line for each fault. */
export function faultLog(log: (line: string) => void, everyMs = 1_000): (line: string) => void {
  let leftOut = 0;
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    timer = leftOut > 0 ? setTimeout(next, everyMs).unref() : undefined;
    if (leftOut > 0) log(`listener proxy: ${leftOut} more faults in the second after that`);
    leftOut = 0;
  };
  return (line) => {
    if (timer !== undefined) {
      leftOut++;
      return;
    }
    timer = setTimeout(next, everyMs).unref();
    log(`listener proxy: ${line}`);
  };
}

/** An error in a line: its text and code, and what caused it. */
export function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" && !error.message.includes(error.code);
  const cause = error.cause === undefined ? "" : `: ${wordsFor(error.cause)}`;
  return `${error.message || error.name}${code ? ` (${error.code as string})` : ""}${cause}`;
}
