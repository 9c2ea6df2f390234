// The program of the init container, as it stands in the manifest, against servers that are right, wrong, slow and away.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { fetchingDaemonSet } from "../../../agent/manifests/flatten.ts";

const AGENT = `console.log("agent");\n`.repeat(5_000);
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const path = `/agent/${sha256(AGENT)}.mjs`;

const init = z
  .object({ command: z.array(z.string()), args: z.array(z.string()) })
  .parse(
    (parse(fetchingDaemonSet()) as { spec: { template: { spec: { initContainers: unknown[] } } } }).spec.template.spec
      .initContainers[0],
  );

/** The program with other times, which it must have. */
function program(times: Readonly<Record<string, number>>): string {
  let [text = ""] = init.args;
  for (const [name, ms] of Object.entries(times)) {
    const line = new RegExp(`const ${name} = [\\d_* ]+;`);
    expect(text).toMatch(line);
    text = text.replace(line, `const ${name} = ${ms};`);
  }
  return text;
}

let folder: string;
let server: Server | undefined;
let child: ChildProcess | undefined;
let asked: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-fetch-"));
  asked = [];
});
afterEach(async () => {
  child?.kill("SIGKILL");
  await stop();
  rmSync(folder, { recursive: true });
});

async function serve(answer: RequestListener, port = 0): Promise<string> {
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    answer(request, response);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
async function stop(): Promise<void> {
  if (server?.listening !== true) return;
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

interface Run {
  readonly times?: Readonly<Record<string, number>>;
  readonly files?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each line that it says. */
  readonly onLine?: (line: string) => void;
}

/** Exit code and lines, as `node` runs it in the container. */
async function run(edge: string, { times = {}, files, env = {}, onLine }: Run = {}) {
  const [, ...options] = init.command;
  const args = [...options, program({ PAUSE_MS: 10, ...times }), folder, ...(files ?? [`main.mjs=${sha256(AGENT)}`])];
  const started = spawn(process.execPath, args, {
    stdio: ["ignore", "inherit", "pipe"],
    env: { POSTERN_EDGE: edge, POSTERN_CLUSTER: "home", POSTERN_INSECURE_PLAIN_HTTP: "true", ...env },
  });
  child = started;
  const lines: string[] = [];
  createInterface({ input: started.stderr }).on("line", (line) => {
    lines.push(line);
    onLine?.(line);
  });
  const [code] = (await once(started, "close")) as [number | null];
  return { code, lines, last: lines.at(-1) ?? "" };
}
const fetched = (name = "main.mjs"): string => readFileSync(join(folder, name), "utf8");
const right: RequestListener = (_, response) => response.end(AGENT);

describe("brings", () => {
  it("each file with the hash that it must have", async () => {
    const texts = new Map([AGENT, "probe"].map((text) => [`/agent/${sha256(text)}.mjs`, text]));
    const edge = await serve(({ url = "" }, response) => response.end(texts.get(url)));
    const files = [`main.mjs=${sha256(AGENT)}`, `probe.mjs=${sha256("probe")}`];
    const { code, lines } = await run(edge, { files });
    expect(code).toBe(0);
    expect(lines).toEqual([
      `main.mjs: ${AGENT.length} bytes from ${edge}, with the SHA-256 of this manifest`,
      `probe.mjs: 5 bytes from ${edge}, with the SHA-256 of this manifest`,
    ]);
    expect([fetched(), fetched("probe.mjs"), readdirSync(folder)]).toEqual([AGENT, "probe", ["main.mjs", "probe.mjs"]]);
    expect(asked).toEqual([...texts.keys()]);
  });

  it("nothing a second time, with the edge there or away", async () => {
    const edge = await serve(right);
    await run(edge);
    const { ino } = statSync(join(folder, "main.mjs"));
    expect(await run(edge)).toMatchObject({ code: 0, lines: ["main.mjs is here already"] });
    await stop();
    expect(await run(edge)).toMatchObject({ code: 0, lines: ["main.mjs is here already"] });
    expect(asked).toEqual([path]);
    expect(statSync(join(folder, "main.mjs")).ino).toBe(ino);
  });

  it.each([
    ["half of it", AGENT.slice(0, 1_000)],
    ["another version", `${AGENT}//`],
  ])("it anew where the folder has %s", async (_, text) => {
    writeFileSync(join(folder, "main.mjs"), text);
    expect(await run(await serve(right))).toMatchObject({ code: 0 });
    expect(fetched()).toBe(AGENT);
  });

  it("it once the edge is there, and says meanwhile what it waits for", async () => {
    const edge = await serve(right);
    await stop();
    const { port } = new URL(edge);
    let back: Promise<unknown> | undefined;
    const { code, lines } = await run(edge, { onLine: () => void (back ??= serve(right, Number(port))) });
    await back;
    expect(code).toBe(0);
    expect(lines[0]).toBe(`main.mjs cannot be had from ${edge} (ECONNREFUSED): asking again in 0.01 s`);
    expect(fetched()).toBe(AGENT);
  });

  it.each<[what: string, first: RequestListener, why: RegExp]>([
    ["a 503", (_, response) => response.writeHead(503).end(), /\(HTTP 503\)/],
    ["too many questions", (_, response) => response.writeHead(429).end("{}"), /\(HTTP 429\)/],
    [
      "an answer that breaks off",
      (_, response) => {
        response.writeHead(200, { "content-length": AGENT.length });
        response.write(AGENT.slice(0, 1_000), () => response.destroy());
      },
      /\(ECONNRESET\)/,
    ],
    ["an edge that says nothing", () => {}, /\(no byte for 3 s\)/],
    [
      "an answer that stops in the middle",
      (_, response) => void response.writeHead(200, { "content-length": AGENT.length }).write(AGENT.slice(0, 1_000)),
      /\(no byte for 3 s\)/,
    ],
  ])("it after %s", async (_, first, why) => {
    let tries = 0;
    const edge = await serve((request, response) => (tries++ === 0 ? first : right)(request, response));
    // Longer than a busy machine takes to load what fetches.
    const { code, lines } = await run(edge, { times: { IDLE_MS: 3_000 } });
    expect(code).toBe(0);
    expect(lines[0]).toMatch(why);
    expect(tries).toBe(2);
    expect(fetched()).toBe(AGENT);
  });

  it("it from a port that browsers refuse", async () => {
    // The first of them that nobody has.
    let edge: string | undefined;
    for (const port of [10080, 6697, 6566]) edge ??= await serve(right, port).catch(() => undefined);
    if (edge === undefined) throw new Error("all of those ports are in use");
    await expect(fetch(edge)).rejects.toMatchObject({ cause: { message: "bad port" } });
    expect(await run(edge)).toMatchObject({ code: 0 });
    expect(fetched()).toBe(AGENT);
  });

  it("it by a slow answer that goes on", async () => {
    const edge = await serve((_, response) => {
      let at = 0;
      const next = (): void => {
        const part = AGENT.slice(at, (at += AGENT.length / 10));
        if (part === "") response.end();
        else response.write(part, () => setTimeout(next, 500));
      };
      next();
    });
    expect(await run(edge, { times: { IDLE_MS: 3_000 } })).toMatchObject({ code: 0, lines: [expect.any(String)] });
  });
});

describe("brings nothing, and says why in its last line", () => {
  const flipped = AGENT.replace("agent", "bgent");

  it.each<[what: string, answer: RequestListener, words: RegExp]>([
    ["one byte differs", (_, response) => response.end(flipped), new RegExp(`SHA-256 ${sha256(flipped)}.*changed`)],
    ["the end is missing", (_, response) => response.end(AGENT.slice(0, -1)), /sent bytes with the SHA-256/],
    ["it never ends", endless, /sends more than 1000 bytes/],
    [
      "it leads elsewhere",
      (_, response) => response.writeHead(302, { location: "http://elsewhere.example/" }).end(),
      /leads on to http:\/\/elsewhere\.example\/, and that is not followed/,
    ],
    [
      "the edge has another agent",
      (_, response) => response.writeHead(404).end(JSON.stringify({ detail: "this edge has another" })),
      /is not to be had \(HTTP 404\): this edge has another\./,
    ],
    ["no edge answers there", (_, response) => response.writeHead(400).end("<html>"), /HTTP 400.*no edge of Postern/],
  ])("%s", async (_, answer, words) => {
    const edge = await serve(answer);
    const { code, lines, last } = await run(edge, { times: answer === endless ? { MOST_BYTES: 1_000 } : {} });
    expect(code).toBe(1);
    expect(lines).toHaveLength(1);
    expect(last).toMatch(words);
    expect(last).toContain(path);
    expect(last).toMatch(/Apply a new manifest: postern join home --apply$/);
    expect(readdirSync(folder)).toEqual([]);
    expect(asked).toEqual([path]);
  });

  it.each<[what: string, env: Record<string, string>, words: RegExp]>([
    ["plain http that nobody allowed", { POSTERN_INSECURE_PLAIN_HTTP: "false" }, /plain http/],
    ["no URL", { POSTERN_EDGE: "edge" }, /must be the edge's URL, not "edge"/],
  ])("%s", async (_, env, words) => {
    const { code, last } = await run(await serve(right), { env });
    expect(code).toBe(1);
    expect(last).toMatch(words);
    expect(asked).toEqual([]);
  });

  it("an edge that stays away: after its time Kubernetes has the next turn", async () => {
    const edge = await serve(right);
    await stop();
    const { code, lines, last } = await run(edge, { times: { PATIENCE_MS: 3_000 } });
    expect(code).toBe(1);
    expect(lines.length).toBeGreaterThan(1);
    expect(last).toMatch(/ECONNREFUSED.*The edge must run, and this node must reach it$/);
  });

  it("an answer that takes too long as a whole", async () => {
    const edge = await serve((_, response) => {
      const timer = setInterval(() => response.write("a"), 20);
      response.once("close", () => clearInterval(timer));
    });
    const { code, last } = await run(edge, { times: { WHOLE_MS: 200, PATIENCE_MS: 0 } });
    expect([code, last]).toEqual([1, expect.stringContaining("not all of it within 0.2 s")]);
  });
});

function endless(_: unknown, response: Parameters<RequestListener>[1]): void {
  const more = (): void => void response.write(AGENT, (error) => error ?? more());
  more();
}

it("has nothing in it that Kubernetes would replace", () => {
  for (const arg of [...init.command, ...init.args]) expect(arg).not.toContain("$(");
});
