// Somebody who has nothing to do with it: a server and its client, in a process of their own, whose requests go through the
// edge while others misbehave. Prints the worst that they saw. Run by `witness()` below, as `node witness.ts`.
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import type { Door } from "./programs.ts";

const EVERY_MS = 50;
/** So long without an answer is a failure. */
const PATIENCE_MS = 30_000;
const readySchema = z.object({ port: z.int() });
const doorSchema = z.object({ host: z.string(), port: z.int(), authority: z.string() });
const reportSchema = z.object({
  requests: z.int(),
  worstMs: z.number(),
  /** Of 95 in 100 none took longer. */
  mostMs: z.number(),
  failures: z.array(z.string()),
});
export type Report = z.infer<typeof reportSchema>;

/** What a stranger may wait: a second, and twice what this machine, as busy as it is, makes of an undisturbed request. */
export const stallMs = (undisturbed: Report): number => 1_000 + 2 * undisturbed.worstMs;

export interface Witness {
  /** Its server's address is `address`. */
  readonly port: number;
  /** Asks there from now on. */
  watch(door: Door): void;
  /** What became of all that it asked since, those included that wait for an answer now. */
  report(): Promise<Report>;
  stop(): void;
}

export async function witness(address: string): Promise<Witness> {
  const child = fork(new URL(import.meta.url), [address], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [ready] = (await once(child, "message")) as [unknown];
  return {
    port: readySchema.parse(ready).port,
    watch: (door) => void child.send(door),
    async report() {
      const answered = once(child, "message");
      child.send("report");
      return reportSchema.parse(((await answered) as [unknown])[0]);
    },
    stop: () => void child.kill("SIGKILL"),
  };
}

async function main(address: string): Promise<void> {
  const server = createServer((_, res) => void res.end("well"));
  server.listen(0, address);
  await once(server, "listening");
  let door: Door | undefined;
  let requests = 0;
  let times: number[] = [];
  let failures: string[] = [];
  const asked = new Set<Promise<void>>();
  const ask = (to: Door): void => {
    const answered = Promise.withResolvers<void>();
    asked.add(answered.promise);
    const begun = performance.now();
    requests++;
    // What this process itself is late, because the machine is busy, is nobody's stall.
    let [ticked, late] = [begun, 0];
    const clock = setInterval(() => {
      const now = performance.now();
      late += Math.max(0, now - ticked - 20);
      ticked = now;
    }, 20);
    const done = (failure?: string) => {
      clearInterval(clock);
      if (failure !== undefined) failures.push(`${Math.round(performance.now() - begun)} ms: ${failure}`);
      else times.push(performance.now() - begun - late);
      asked.delete(answered.promise);
      answered.resolve();
    };
    const signal = AbortSignal.timeout(PATIENCE_MS);
    request({ host: to.host, port: to.port, agent: false, headers: { host: to.authority }, signal }, (res) => {
      let text = "";
      res.setEncoding("utf8").on("data", (part: string) => (text += part));
      res.on("end", () => done(res.statusCode === 200 ? undefined : `${res.statusCode} ${text.slice(0, 200)}`));
      res.on("error", (error) => done(String(error)));
    })
      .on("error", (error) => done(String(error)))
      .end();
  };
  const report = async (): Promise<void> => {
    await Promise.all(asked);
    times.sort((a, b) => a - b);
    const [worstMs = 0, mostMs = 0] = [times.at(-1), times[Math.floor(times.length * 0.95)]];
    process.send?.({ requests, worstMs, mostMs, failures: failures.slice(0, 20) });
    [requests, times, failures] = [0, [], []];
  };
  process.on("message", (message) => {
    if (message === "report") void report();
    else door = doorSchema.parse(message);
  });
  process.once("disconnect", () => process.exit());
  setInterval(() => door && ask(door), EVERY_MS);
  process.send?.({ port: (server.address() as AddressInfo).port });
}

if (process.argv[1] === new URL(import.meta.url).pathname) await main(process.argv[2] ?? "127.0.0.1");
