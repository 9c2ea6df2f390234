// A client that has sent its FIN: it may still read its answer (a half-close), or have left, which looks the same until it is
// written to. It gets as long as such a client needs, counted from the last byte that it took.
import type { Socket } from "node:net";
import type { Limits } from "./limits.ts";

/** A client that half-closes does so at once: a FIN later than that is most likely the client's end. */
const PROMPT_MS = 1_000;

/** How long nothing may be written to it before its connection is closed. `sinceAskedMs`: from its request to its FIN. */
export function quietMsAfterEnd(
  { sinceAskedMs, answerBegun }: { readonly sinceAskedMs: number; readonly answerBegun: boolean },
  { halfClosedMs, leftMs }: Pick<Limits, "halfClosedMs" | "leftMs">,
): number {
  return sinceAskedMs < PROMPT_MS && !answerBegun ? halfClosedMs : leftMs;
}

/** Destroys `socket` once nothing was written to it for `quietMs`; looks four times in that time. The caller clears the interval. */
export function destroyWhenQuiet(socket: Socket, quietMs: number): NodeJS.Timeout {
  let bytes = socket.bytesWritten;
  let since = performance.now();
  return setInterval(() => {
    const now = performance.now();
    if (socket.bytesWritten !== bytes) {
      bytes = socket.bytesWritten;
      since = now;
    } else if (now - since >= quietMs) socket.destroy();
  }, quietMs / 4);
}
