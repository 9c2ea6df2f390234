// A body arrives whole or not at all, whatever node fails when (B1); and what was kept of it comes back on every way out
// (B2, S8); exchange.test.ts has the client that breaks it off.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { forgetAll } from "../worker/edge.ts";
import type { Backend, Stream, TestNode } from "../worker/node.ts";
import { Cluster } from "../worker/cluster.ts";

const NAMES = ["node-a", "node-b", "node-c"];
let home: Cluster;
let nodes: TestNode[] = [];
let streams: Stream[];
let backend: Backend;
let instances = 0;
const leave = ({ node }: Stream): void => node.leave();

beforeAll(async () => {
  home = await Cluster.create("home", NAMES);
});
afterAll(async () => {
  home.leave();
  await forgetAll();
});

async function connectAll(): Promise<void> {
  streams = [];
  nodes = nodes.filter((node) => node.closed === undefined && !node.left);
  for (const name of NAMES) {
    if (nodes.some((node) => node.name === name)) continue;
    const serve: Backend = (stream) => {
      streams.push(stream);
      backend(stream);
    };
    nodes.push(await home.connect(name, serve, { instance: `${name}-${instances++}` }));
  }
}

const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
const joined = (chunks: readonly Uint8Array[]): Uint8Array => new Uint8Array(chunks.flatMap((chunk) => [...chunk]));

/** A client's body in chunks, each sent when the one before was asked for. */
const chunked = (body: Uint8Array, size: number): ReadableStream<Uint8Array> => {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      if (at < body.length) controller.enqueue(body.slice(at, (at += size)));
      else controller.close();
    },
  });
};

/** Resolves once so many bytes, or the end, have come. */
const got = (stream: Stream, count: number): Promise<void> =>
  stream.node.until(
    () => stream.bytes >= count || stream.ended || stream.reset !== undefined || stream.node.closed !== undefined,
  );

type Failure = readonly [string, (stream: Stream) => void];
const failures: readonly Failure[] = [
  ["not sent", (stream) => stream.fail(Reset.NOT_SENT)],
  ["no endpoint", (stream) => stream.fail(Reset.NO_ENDPOINT)],
  ["overloaded", (stream) => stream.fail(Reset.OVERLOADED)],
  ["lost", leave],
];

describe.each(["PUT", "POST"])("%s: whole or not at all", (method) => {
  for (const [name, fail] of failures)
    test.each([
      [1, 1],
      [65_536, 10_000],
      [150_000, 50_000],
      [400_000, 64_000],
    ])(`first node: ${name}; %d bytes in chunks of %d`, async (size, chunk) => {
      const body = bytes(size);
      for (const after of [0, 1, size / 2, size]) {
        let failed = false;
        backend = (stream) =>
          void (async () => {
            if (!failed) {
              failed = true;
              await got(stream, after);
              return fail(stream);
            }
            await stream.node.until(() => stream.ended || stream.reset !== undefined);
            if (stream.ended) stream.answer("stored");
          })();
        await connectAll();
        const response = await home.fetch({ method, body: chunked(body, chunk) });
        const text = await response.text();
        // Whoever saw an end has seen all of it.
        for (const stream of streams) if (stream.ended) expect(joined(stream.chunks), `${after}`).toEqual(body);
        if (response.status === 200) {
          expect(text).toBe("stored");
          expect(joined(streams.at(-1)?.chunks ?? [])).toEqual(body);
        } else expect([502, 503]).toContain(response.status);
        // A body that fits into what is kept survives a node that nobody's backend has seen it through.
        if (size <= 150_000 && name !== "lost")
          expect(`${after}: ${response.status} ${text}`).toBe(`${after}: 200 stored`);
        await home.idle();
      }
    });
});

describe("what was kept comes back", () => {
  test.each(failures)("every node: %s", async (_name, fail) => {
    backend = (stream) => void got(stream, 10).then(() => fail(stream));
    await connectAll();
    await (await home.fetch({ method: "POST", body: chunked(bytes(100_000), 50_000) })).text();
    await home.idle();
  });

  test("an answer before the body is read", async () => {
    backend = (stream) => stream.answer("no", { status: 401 });
    await connectAll();
    const response = await home.fetch({ method: "POST", body: chunked(bytes(1_000_000), 50_000) });
    expect([response.status, await response.text()]).toEqual([401, "no"]);
    await home.idle();
  });
});
