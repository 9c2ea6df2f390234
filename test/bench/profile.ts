// A CPU profile of Postern's isolate, taken over workerd's inspector while a load runs; summed up by function, self time.
import { WebSocket } from "ws";

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly hitCount: number;
  }[];
  readonly samples: readonly number[];
}

/** Runs `load` under the profiler; returns lines, the costliest function first. */
export async function profile(port: number, load: () => Promise<void>): Promise<string[]> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as { webSocketDebuggerUrl: string }[];
  const target = targets.find(({ webSocketDebuggerUrl }) => webSocketDebuggerUrl.includes("main"));
  if (target === undefined) throw new Error("the inspector lists no isolate");
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.once("open", resolve));
  let id = 0;
  const call = (method: string, params: object = {}): Promise<unknown> => {
    const mine = ++id;
    socket.send(JSON.stringify({ id: mine, method, params }));
    return new Promise((resolve) => {
      const hear = (data: Buffer): void => {
        const message = JSON.parse(data.toString()) as { id?: number; result?: unknown };
        if (message.id !== mine) return;
        socket.off("message", hear);
        resolve(message.result);
      };
      socket.on("message", hear);
    });
  };
  await call("Profiler.enable");
  await call("Profiler.setSamplingInterval", { interval: 200 });
  await call("Profiler.start");
  await load();
  const { profile: taken } = (await call("Profiler.stop")) as { profile: Profile };
  socket.terminate();
  const byFunction = new Map<string, number>();
  let total = 0;
  for (const { callFrame, hitCount } of taken.nodes) {
    const name = `${callFrame.functionName || "(anonymous)"}:${callFrame.lineNumber + 1}`;
    byFunction.set(name, (byFunction.get(name) ?? 0) + hitCount);
    total += hitCount;
  }
  return [...byFunction]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 40)
    .map(([name, hits]) => `${((100 * hits) / total).toFixed(1).padStart(5)} %  ${name}`);
}
