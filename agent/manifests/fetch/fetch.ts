// The init container's program: brings the files of the agent from the edge into a folder, and lets the pod go on only if each has
// the SHA-256 that stands in the manifest. It stands in the manifest as text, without its types (`npm run manifests`), so it
// imports nothing but Node.js. Arguments: the folder, then name=hash for each file.
// It asks by node:http and node:https, because fetch() refuses ports that browsers refuse (6000, 10080 …), at which an edge may be.
// What is in the folder already is not asked for: a pod whose node was started anew needs no edge for this. An edge that is away
// is asked again for ten minutes, then Kubernetes starts this anew. What no waiting mends ends it at once. Its last line says why,
// and becomes the container's termination message.
import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { get as getPlain, type IncomingMessage } from "node:http";
import { get as getTls } from "node:https";
import { setTimeout as delay } from "node:timers/promises";

const MOST_BYTES = 16 * 1024 * 1024;
const IDLE_MS = 20_000;
const WHOLE_MS = 300_000;
const PATIENCE_MS = 600_000;
const PAUSE_MS = 1_000;
const PAUSE_MOST_MS = 15_000;

const [folder = "", ...wanted] = process.argv.slice(1);
const { POSTERN_EDGE = "", POSTERN_CLUSTER = "NAME", POSTERN_INSECURE_PLAIN_HTTP = "" } = process.env;
const anew = `Apply a new manifest: postern join ${POSTERN_CLUSTER} --apply`;

const say = (words: string): unknown => process.stderr.write(`${words}\n`);
const fail = (words: string): never => {
  say(words);
  process.exit(1);
};
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

if (!URL.canParse(POSTERN_EDGE)) fail(`POSTERN_EDGE must be the edge's URL, not "${POSTERN_EDGE}". ${anew}`);
if (new URL(POSTERN_EDGE).protocol !== "https:" && !["true", "1"].includes(POSTERN_INSECURE_PLAIN_HTTP))
  fail(`POSTERN_EDGE is plain http, which POSTERN_INSECURE_PLAIN_HTTP must allow. ${anew}`);
for (const entry of wanted) {
  const [name = "", hash = ""] = entry.split("=");
  const file = `${folder}/${name}`;
  if (isThere(file, hash)) {
    say(`${name} is here already`);
    continue;
  }
  const bytes = await bring(name, hash);
  writeFileSync(`${file}.part`, bytes);
  renameSync(`${file}.part`, file);
  say(`${name}: ${bytes.length} bytes from ${POSTERN_EDGE}, with the SHA-256 of this manifest`);
}

function isThere(file: string, hash: string): boolean {
  try {
    return sha256(readFileSync(file)) === hash;
  } catch {
    return false;
  }
}

async function bring(name: string, hash: string): Promise<Uint8Array> {
  const url = new URL(`/agent/${hash}.mjs`, POSTERN_EDGE);
  const end = Date.now() + PATIENCE_MS;
  for (let pause = PAUSE_MS; ; pause = Math.min(2 * pause, PAUSE_MOST_MS)) {
    let why: string;
    try {
      const bytes = await ask(url);
      const got = sha256(bytes);
      if (got === hash) return bytes;
      return fail(
        `${url.href} sent bytes with the SHA-256 ${got}, which this manifest does not allow: they were changed on their way, and are not started. Find what changes them between this node and the edge. ${anew}`,
      );
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      why = `${name} cannot be had from ${POSTERN_EDGE} (${code ?? message})`;
    }
    if (Date.now() >= end) fail(`${why}. The edge must run, and this node must reach it`);
    say(`${why}: asking again in ${pause / 1000} s`);
    await delay(pause);
  }
}

/** Throws where asking again may help. */
async function ask(url: URL): Promise<Uint8Array> {
  const given = new AbortController();
  const idle = setTimeout(() => given.abort(new Error(`no byte for ${IDLE_MS / 1000} s`)), IDLE_MS);
  const whole = setTimeout(() => given.abort(new Error(`not all of it within ${WHOLE_MS / 1000} s`)), WHOLE_MS);
  let answer: IncomingMessage | undefined;
  try {
    answer = await answerTo(url, given.signal);
    const { statusCode: status = 0, headers } = answer;
    if (status >= 300 && status < 400)
      fail(
        `${url.href} leads on to ${headers.location}, and that is not followed: POSTERN_EDGE must be the edge's admin host. ${anew}`,
      );
    // Of the others that blame the asker two mean "later".
    const refused = status >= 400 && status < 500 && status !== 408 && status !== 429;
    if (status !== 200 && !refused) throw new Error(`HTTP ${status}`);
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of answer as AsyncIterable<Uint8Array>) {
      idle.refresh();
      size += part.length;
      if (size > MOST_BYTES) fail(`${url.href} sends more than ${MOST_BYTES} bytes, which is no agent. ${anew}`);
      parts.push(part);
    }
    const bytes = Buffer.concat(parts);
    if (refused) fail(`${url.href} is not to be had (HTTP ${status}): ${reasonIn(bytes.toString())}. ${anew}`);
    return bytes;
  } catch (error) {
    // An answer that is given up in its middle only says that it was reset.
    throw given.signal.aborted ? given.signal.reason : error;
  } finally {
    clearTimeout(idle);
    clearTimeout(whole);
    // A body that nobody reads would keep this process alive.
    answer?.destroy();
  }
}

/** The head of the answer. Redirects are not followed. */
function answerTo(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const get = url.protocol === "https:" ? getTls : getPlain;
  const headers = { "user-agent": "postern-agent", "accept-encoding": "identity" };
  return new Promise((resolve, reject) => void get(url, { signal, headers }, resolve).on("error", reject));
}

/** What the edge says of it. */
function reasonIn(text: string): string {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    return typeof detail === "string" ? detail.slice(0, 500) : "it says no more";
  } catch {
    return "what answers there is no edge of Postern";
  }
}
