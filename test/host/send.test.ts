// The exchange by which commands and local edges ask the control API, against servers of its own.
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { afterEach, expect, it } from "vitest";
import { sendByHttp } from "../../src/host/send.ts";

let server: Server | undefined;
afterEach(async () => {
  if (server?.listening !== true) return;
  server.close();
  server.closeAllConnections();
  await once(server, "close");
});

async function serve(answer: RequestListener, port = 0): Promise<URL> {
  server = createServer(answer);
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/api`);
}
const get = (url: URL, withinMs = 10_000) => sendByHttp({ method: "GET", url, headers: {}, body: null, withinMs });

it("sends method, headers and body, and brings status, headers and text", async () => {
  const answerWith = async (...[request, response]: Parameters<RequestListener>): Promise<void> => {
    const body = await buffer(request);
    const { method, headers } = request;
    response.writeHead(201, { "retry-after": "7", "set-cookie": ["a=1", "b=2"] });
    response.end(`${method} ${headers.authorization} ${headers["content-length"]} ${body.toString()} ü`);
  };
  const url = await serve((request, response) => void answerWith(request, response));
  const headers = { authorization: "Bearer secret" };
  const answer = await sendByHttp({ method: "POST", url, headers, body: "{}" });
  expect(answer).toMatchObject({ status: 201, text: "POST Bearer secret 2 {} ü" });
  expect(["retry-after", "set-cookie", "etag"].map(answer.header)).toEqual(["7", "a=1", undefined]);
});

it("asks at a port that browsers refuse", async () => {
  let url: URL | undefined;
  // The first of them that nobody has.
  for (const port of [10080, 6697, 6566])
    url ??= await serve((_, response) => response.end("here"), port).catch(() => undefined);
  if (url === undefined) throw new Error("all of those ports are in use");
  await expect(fetch(url)).rejects.toMatchObject({ cause: { message: "bad port" } });
  expect(await get(url)).toMatchObject({ status: 200, text: "here" });
});

it("does not follow a redirect", async () => {
  const url = await serve((_, response) => response.writeHead(302, { location: "/elsewhere" }).end("there"));
  expect(await get(url)).toMatchObject({ status: 302, text: "there" });
});

it.each<[string, RequestListener]>([
  ["no answer", () => {}],
  ["half an answer", (_, response) => void response.writeHead(200, { "content-length": 100 }).write("half")],
])("waits no longer than it is told to: %s", async (_, answer) => {
  await expect(get(await serve(answer), 300)).rejects.toMatchObject({ name: "TimeoutError" });
});

it.each<[string, RequestListener, RegExp]>([
  [
    "an answer that breaks off",
    (_, response) => void response.writeHead(200, { "content-length": 9 }).write("a", () => response.destroy()),
    /aborted/,
  ],
  [
    "more than any answer has",
    (_, response) => void response.end(Buffer.alloc(33 * 1024 * 1024)),
    /more than 33554432 bytes/,
  ],
])("fails with %s", async (_, answer, why) => {
  await expect(get(await serve(answer))).rejects.toThrow(why);
});

it("hands an endless answer over as it comes, until it is told to stop", async () => {
  const url = await serve((_, response) => {
    response.writeHead(200).write("a");
    setTimeout(() => response.write("ü"), 1_700);
  });
  const pieces: string[] = [];
  const enough = new AbortController();
  const stream = {
    onText: (piece: string) => {
      pieces.push(piece);
      if (piece === "ü") enough.abort(new Error("enough"));
    },
    signal: enough.signal,
  };
  // The time is over long before: it is for the head alone.
  const sending = sendByHttp({ method: "GET", url, headers: {}, body: null, withinMs: 1_500, stream });
  await expect(sending).rejects.toThrow("enough");
  expect(pieces).toEqual(["a", "ü"]);
});

it("brings the text of a refusal, also where a stream was asked for", async () => {
  const url = await serve((_, response) => response.writeHead(429).end("no"));
  const stream = { onText: () => expect.unreachable(), signal: new AbortController().signal };
  expect(await sendByHttp({ method: "GET", url, headers: {}, body: null, stream })).toMatchObject({
    status: 429,
    text: "no",
  });
});

it("fails where nobody listens, in the system's words", async () => {
  const url = await serve(() => {});
  server?.close();
  await expect(get(url)).rejects.toThrow(/connect ECONNREFUSED/);
});
