// A slow link between agent and edge, a process of its own: `node link.ts <listen port> <target port> <megabits a second>`.
// A TCP relay that passes so much each way and holds little, so that what waits, waits in the two ends under test.
import { createConnection, createServer, type Socket } from "node:net";

const TICK_MS = 5;
const [listenPort, targetPort, megabits] = process.argv.slice(2).map(Number) as [number, number, number];
const bytesPerTick = (megabits * 1e6 * TICK_MS) / 8000;

createServer({ highWaterMark: 16 * 1024, noDelay: true }, (near) => {
  const far = createConnection({ port: targetPort, host: "127.0.0.1", noDelay: true });
  relay(near, far);
  relay(far, near);
}).listen(listenPort, "127.0.0.1");

function relay(from: Socket, to: Socket): void {
  let allowance = 0;
  // Listening for it is what makes a stream read ahead without flowing.
  from.on("readable", () => {});
  const timer = setInterval(() => {
    allowance = Math.min(allowance + bytesPerTick, 4 * bytesPerTick);
    while (allowance > 0) {
      const chunk = from.read(Math.min(from.readableLength, Math.ceil(allowance))) as Buffer | null;
      if (chunk === null) return;
      allowance -= chunk.length;
      to.write(chunk);
    }
  }, TICK_MS);
  const end = (): void => {
    clearInterval(timer);
    from.destroy();
    to.destroy();
  };
  from.on("close", end).on("error", end).on("end", end);
}
