// `npm start -- --json` as its user runs it, for the tests in this folder: on the demo's own YAML, moved to ports and
// addresses of its own so that a running demo is not disturbed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { Pool } from "undici";
import { z } from "zod";

const root = new URL("../..", import.meta.url).pathname;

const readySchema = z.strictObject({
  urls: z.array(z.url()),
  api: z.strictObject({ url: z.url(), tokenFile: z.string() }),
  nodes: z.array(z.strictObject({ name: z.string(), address: z.string(), pid: z.int() })),
  pods: z.array(z.strictObject({ name: z.string(), address: z.string(), port: z.int(), pid: z.int() })),
  manifests: z.string(),
});
export type Ready = z.infer<typeof readySchema>;

export class Emulation {
  readonly ready: Ready;
  readonly #npm: ChildProcess;
  readonly #lines: string[];

  private constructor(ready: Ready, npm: ChildProcess, lines: string[]) {
    this.ready = ready;
    this.#npm = npm;
    this.#lines = lines;
  }

  /** `edit` changes each file before the start; `more` are files beside them. */
  static async start(
    edit: (yaml: string) => string = (yaml) => yaml,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Emulation> {
    const manifests = mkdtempSync(join(tmpdir(), "postern-e2e-"));
    cpSync(join(root, "src/demo/manifests"), manifests, { recursive: true });
    for (const name of readdirSync(manifests)) {
      const file = join(manifests, name);
      // 8888 => 18888, 127.1.0.1 => 127.1.7.1, NodePort 30889 => 31889
      const moved = readFileSync(file, "utf8")
        .replaceAll(/port: (8\d\d\d)\b/g, "port: 1$1")
        .replaceAll(/127\.([01])\.[01]\./g, "127.$1.7.")
        .replaceAll("nodePort: 30889", "nodePort: 31889");
      writeFileSync(file, edit(moved));
    }
    for (const [name, text] of Object.entries(more)) {
      mkdirSync(dirname(join(manifests, name)), { recursive: true });
      writeFileSync(join(manifests, name), text);
    }
    const npm = spawn("npm", ["start", "--silent", "--", "--json", "--manifests", manifests], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const lines: string[] = [];
    createInterface({ input: npm.stderr }).on("line", (line) => lines.push(line));
    const stdout = createInterface({ input: npm.stdout });
    const ended = once(npm, "exit").then(() => {
      throw new Error(`npm start ended before it was ready:\n${lines.join("\n")}`);
    });
    const [line] = await Promise.race([once(stdout, "line"), ended]);
    ended.catch(() => {});
    stdout.on("line", (more) => lines.push(`a second line on stdout: ${more}`));
    return new Emulation(readySchema.parse(JSON.parse(String(line))), npm, lines);
  }

  /** What it said so far, for people. */
  get said(): string {
    return this.#lines.join("\n");
  }

  get npmPid(): number {
    return this.#npm.pid ?? 0;
  }

  url(service: string): URL {
    const url = this.ready.urls.find((url) => url.includes(`//${service}-default-home.`));
    if (url === undefined) throw new Error(`no URL of ${service} in ${this.ready.urls.join()}`);
    return new URL(url);
  }

  node(name: string): { pid: number } {
    return found(this.ready.nodes, name);
  }

  pod(name: string): { pid: number } {
    return found(this.ready.pods, name);
  }

  edit(file: string, change: (yaml: string) => string): void {
    const path = join(this.ready.manifests, file);
    writeFileSync(path, change(readFileSync(path, "utf8")));
  }

  /** As Ctrl-C does. */
  async stop(): Promise<void> {
    if (this.#npm.exitCode === null && this.#npm.signalCode === null) {
      const exit = once(this.#npm, "exit");
      this.#npm.kill("SIGINT");
      await exit;
    }
    rmSync(this.ready.manifests, { recursive: true, force: true });
  }
}

function found<T extends { name: string }>(list: readonly T[], name: string): T {
  const one = list.find((item) => item.name === name);
  if (!one) throw new Error(`no ${name}`);
  return one;
}

/**
 * Node.js does not resolve *.localhost everywhere: 127.0.0.1 is dialled, with the URL's Host. A connection that breaks is for whoever
 * awaits the response or reads it; it is no fault of the whole run where a test has given up already.
 */
export function dial(url: URL, options: RequestOptions = {}): ReturnType<typeof httpRequest> {
  const req = httpRequest({
    host: "127.0.0.1",
    port: url.port || 80,
    path: url.pathname + url.search,
    agent: false,
    ...options,
    headers: { ...(options.headers as Record<string, string> | undefined), host: url.host },
  });
  return req.on("error", () => {});
}

export async function get(url: URL): Promise<{ status: number; headers: IncomingMessage["headers"]; body: string }> {
  const req = dial(url);
  req.end();
  const [res] = (await once(req, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of res.setEncoding("utf8")) body += String(chunk);
  return { status: res.statusCode ?? 0, headers: res.headers, body };
}

/** Until the URL is answered so; fails after ten seconds, with the last answer. A refused connection is status 0. */
export async function until(url: URL, status: number, body: RegExp = /./): Promise<void> {
  let last = "";
  for (const deadline = performance.now() + 10_000; performance.now() < deadline; await delay(50)) {
    const answer = await get(url).catch((error: unknown) => ({ status: 0, body: String(error) }));
    if (answer.status === status && body.test(answer.body)) return;
    last = `${answer.status} ${answer.body}`;
  }
  throw new Error(`${url.href} was not answered with ${status} ${body.source} within ten seconds, but with ${last}`);
}

export interface LoadResult {
  readonly answers: number;
  /** Everything that was not a 200 from a pod, with when it happened. */
  readonly failures: string[];
  /** Pod names of the last 50 answers. */
  readonly last: Set<string>;
}

/** GETs at `rate` a second, on kept connections as a browser has them, until `during` is done. */
export async function load(url: URL, rate: number, during: () => Promise<void>): Promise<LoadResult> {
  const pool = new Pool(`http://127.0.0.1:${url.port}`, { headersTimeout: 15_000, bodyTimeout: 15_000 });
  const failures: string[] = [];
  const pods: string[] = [];
  const started = performance.now();
  const pending = new Set<Promise<void>>();
  const stop = new AbortController();
  const one = async () => {
    const at = Math.round(performance.now() - started);
    try {
      const { statusCode, headers, body } = await pool.request({
        path: "/",
        method: "GET",
        headers: { host: url.host },
      });
      const text = await body.text();
      if (statusCode === 200) pods.push(String(headers["x-pod"]));
      else failures.push(`${at} ms: ${statusCode} ${text}`);
    } catch (error) {
      failures.push(`${at} ms: ${String(error)}`);
    }
  };
  const generate = async () => {
    for (let sent = 0; !stop.signal.aborted; ) {
      // Open loop: what is due is sent, whether earlier ones were answered or not.
      for (const due = ((performance.now() - started) * rate) / 1_000; sent < due; sent++) {
        const request = one();
        pending.add(request);
        void request.finally(() => pending.delete(request));
      }
      await delay(5);
    }
  };
  const generating = generate();
  await during();
  stop.abort();
  await generating;
  await Promise.all(pending);
  await pool.close();
  return { answers: pods.length, failures, last: new Set(pods.slice(-50)) };
}

/** This process's descendants, zombies left out. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    const stat = /^\d+$/.test(entry) ? statOf(Number(entry)) : undefined;
    if (stat && stat.state !== "Z") children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(entry)]);
  }
  const all: number[] = [];
  const add = (parent: number) => {
    for (const child of children.get(parent) ?? []) {
      all.push(child);
      add(child);
    }
  };
  add(pid);
  return all;
}

export function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== "Z";
}

export function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
}

/** `npm run edge` execs node: of npm's descendants, the process that serves. */
export function edgeSupervisor(npm: number): number {
  const pids = descendants(npm);
  const pid = pids.find((pid) => /^\S*node src\/host\/main\.ts /.test(commandOf(pid)));
  if (pid === undefined) throw new Error(`no src/host/main.ts among ${pids.map(commandOf).join(", ")}`);
  return pid;
}

export function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

function statOf(pid: number): { state: string; parent: number } | undefined {
  try {
    // "pid (name) state ppid …"; a name may hold spaces and brackets.
    const [state = "", parent = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
