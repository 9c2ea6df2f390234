// Another process, one on each processor: it wakes each millisecond and remembers by how much it was once too late. That is how
// long a user's own program on that processor stands still while the kernel is busy with rules.
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { now } from "./clock.ts";
import { serveCommands } from "./helpers.ts";

const TICK_MS = 1;

if (isMainThread) {
  // µs, in a word of its own that nobody but the thread raises.
  const longest = new Int32Array(new SharedArrayBuffer(8));
  const thread = new Worker(new URL(import.meta.url), { workerData: longest });
  thread.on("error", (error) => {
    throw error;
  });
  serveCommands(() => ({ ms: Atomics.exchange(longest, 0, 0) / 1000 }));
} else {
  const longest = workerData as Int32Array;
  // A second thread does nothing but this, so that no message, and no garbage of one, is taken for a stall.
  for (let before = now(); ; ) {
    Atomics.wait(longest, 1, 0, TICK_MS);
    const after = now();
    const late = Math.round((after - before - TICK_MS) * 1000);
    if (late > Atomics.load(longest, 0)) Atomics.store(longest, 0, late);
    before = after;
  }
}
