// A client under which nothing may fail: requests at a constant rate until its standard input ends, then one line of JSON.
// A program of its own, because it runs where clients are: in the control plane's namespace (load.ts starts it).
// Prints "started" once the first request was answered. Arguments: address, port, Host header, requests a second, method.
import { Pool } from "undici";

const [address = "", port = "80", host = "", rate = "100", method = "GET"] = process.argv.slice(2);
/** Requests that are on their way at once; each on a kept connection. */
const WORKERS = 16;
const FAILURES_SHOWN = 50;

const pool = new Pool(`http://${address}:${port}`, { connections: WORKERS, pipelining: 1 });
const times: number[] = [];
const failures: { at: number; ms: number; what: string }[] = [];
const servers: Record<string, { first: number; last: number; count: number }> = {};
let total = 0;
let during = 0;
let failed = 0;
/** Goes on for a while, to see what the change led to. */
const AFTERWARDS = 100;
let enough = Number.POSITIVE_INFINITY;

async function once(): Promise<void> {
  const begun = Date.now();
  const from = performance.now();
  total++;
  try {
    const answer = await pool.request({
      method: method === "POST" ? "POST" : "GET",
      path: "/hostname",
      headers: { host },
      headersTimeout: 30_000,
    });
    const text = await answer.body.text();
    if (answer.statusCode === 200) {
      const server = (servers[text] ??= { first: Date.now(), last: 0, count: 0 });
      server.last = begun;
      server.count++;
    } else
      fail(begun, from, `${answer.statusCode} ${String(answer.headers["x-postern-reason"])} ${text.slice(0, 200)}`);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    fail(begun, from, `${code ?? ""} ${message}`);
  }
  times.push(performance.now() - from);
}

function fail(at: number, from: number, what: string): void {
  failed++;
  if (failures.length < FAILURES_SHOWN) failures.push({ at, ms: Math.round(performance.now() - from), what });
}

async function work(index: number): Promise<void> {
  const every = (1000 * WORKERS) / Number(rate);
  let next = performance.now() + (every * index) / WORKERS;
  while (total < enough) {
    await once();
    next = Math.max(next + every, performance.now());
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
  }
}

process.stdin.resume().once("end", () => {
  during = total;
  enough = total + AFTERWARDS;
});
await once();
process.stdout.write("started\n");
await Promise.all(Array.from({ length: WORKERS }, (_, index) => work(index)));
times.sort((a, b) => a - b);
const percentile = (share: number): number => Math.round(times[Math.floor((times.length - 1) * share)] ?? 0);
const latency = { p50: percentile(0.5), p99: percentile(0.99), max: percentile(1) };
process.stdout.write(`${JSON.stringify({ total, during, failed, failures, latency, servers })}\n`);
await pool.close();
