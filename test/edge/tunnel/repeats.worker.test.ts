// src/shared/http/repeat.ts, counted: how often one request arrives at nodes, for every way in which its stream can end, every
// method, with and without a body, and as the listener proxy's repeat.
import { afterAll, beforeAll, expect, test } from "vitest";
import { AGENT_SIGHTINGS, EDGE_SIGHTINGS, isIdempotentMethod } from "../../../src/shared/http/repeat.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { forgetAll } from "../worker/edge.ts";
import type { Backend, Stream, TestNode } from "../worker/node.ts";
import { Cluster } from "../worker/cluster.ts";

const NAMES = ["node-a", "node-b", "node-c"];
let home: Cluster;
let backend: Backend;
let seen: Stream[];
let instances = 0;
const leave = ({ node }: Stream): void => node.leave();
let nodes: TestNode[] = [];

beforeAll(async () => {
  home = await Cluster.create("home", NAMES);
});
afterAll(async () => {
  home.leave();
  await forgetAll();
});

async function connectAll(): Promise<void> {
  nodes = nodes.filter((node) => node.closed === undefined && !node.left);
  const names = NAMES.filter((name) => !nodes.some((node) => node.name === name));
  for (const name of names) {
    const serve: Backend = (stream) => {
      seen.push(stream);
      backend(stream);
    };
    nodes.push(await home.connect(name, serve, { instance: `${name}-${instances++}` }));
  }
}

const once = () => 1;
const resets =
  (code: Reset): Backend =>
  (stream) =>
    stream.fail(code);
interface Case {
  readonly idempotent: boolean;
  readonly again: boolean;
}
const endings: readonly (readonly [string, Backend, (how: Case) => number])[] = [
  // No backend saw it: every node is asked.
  ["not sent", resets(Reset.NOT_SENT), () => 3],
  ["no endpoint", resets(Reset.NO_ENDPOINT), () => 3],
  ["refused", resets(Reset.REFUSED), () => 3],
  ["overloaded", resets(Reset.OVERLOADED), () => 3],
  // The node lives, and has done what may be done.
  ["broke", resets(Reset.BROKE), once],
  ["timeout", resets(Reset.TIMEOUT), once],
  ["stalled", resets(Reset.STALLED), once],
  ["too big", resets(Reset.TOO_BIG), once],
  ["unsendable", resets(Reset.UNSENDABLE), once],
  ["cancelled, which is not its to say", resets(Reset.CANCELLED), once],
  ["a code that nobody knows", (stream) => stream.node.session.reset(stream.id, 99 as Reset, ""), once],
  ["a status that is none", (stream) => stream.begin("", { status: 42, end: true }), once],
  ["a head that is not HTTP", (stream) => stream.answer("", { headers: ["a b", "c"] }), once],
  [
    "broke after its head",
    (stream) => {
      stream.begin("x");
      stream.fail(Reset.BROKE);
    },
    once,
  ],
  ["an error of its own", (stream) => stream.answer("", { status: 503 }), once],
  // The node is gone, and with it what it knew.
  ["lost", leave, ({ idempotent, again }) => (idempotent && !again ? EDGE_SIGHTINGS : 1)],
  [
    "lost after its head",
    (stream) => {
      stream.begin("x");
      leave(stream);
    },
    once,
  ],
];

test.each(endings)("%s", async (_name, ending, expected) => {
  backend = (stream) => {
    ending(stream);
    stream.node.flush();
  };
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"])
    for (const body of ["none", "whole", "streamed"] as const)
      for (const again of [false, true])
        for (const key of [false, true]) {
          if (body !== "none" && (method === "GET" || method === "HEAD")) continue;
          await connectAll();
          seen = [];
          const response = await home.fetch({
            method,
            ...(body === "whole" && { body: "abc" }),
            ...(body === "streamed" && { body: new Blob(["abc"]).stream() }),
            headers: { ...(again && { "x-postern-again": "1" }), ...(key && { "idempotency-key": "1" }) },
          });
          await response.arrayBuffer().catch(() => undefined);
          const idempotent = key || isIdempotentMethod(method);
          const what = `${method}, body ${body}, again ${again}, key ${key}`;
          expect(seen.length, what).toBe(expected({ idempotent, again }));
          for (const { head } of seen) expect(head.sightings, what).toBe(again ? 1 : AGENT_SIGHTINGS);
          if (response.status === 499) throw new Error(what);
        }
  await home.idle();
});

test("a WebSocket's handshake: as a GET", async () => {
  for (const [ending, count] of [
    [resets(Reset.NOT_SENT), 3],
    [resets(Reset.BROKE), 1],
    [resets(Reset.TIMEOUT), 1],
    [leave, EDGE_SIGHTINGS],
  ] as const) {
    backend = ending;
    await connectAll();
    seen = [];
    await (await home.fetch({ headers: { upgrade: "websocket" } })).text();
    expect(seen).toHaveLength(count);
  }
  await home.idle();
});
