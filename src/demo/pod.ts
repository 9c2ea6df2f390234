// A demo pod: a small real HTTP server that says who it is. Its paths let one watch what a load balancer does to
// streams, bodies and WebSockets (docs/demo.md). On SIGTERM it finishes what it accepted, as a well-behaved pod does.
//   node src/demo/pod.ts --name web-1 --node node-a --address 127.1.0.1 --port 8081
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "pod" },
    node: { type: "string", default: "" },
    address: { type: "string", default: "127.0.0.1" },
    port: { type: "string", multiple: true, default: ["8080"] },
  },
});
const who = values.node ? `${values.name} on ${values.node}` : values.name;
const stopping = new AbortController();

/** 0, 1, … 255, 0, …: a receiver can check any stretch of /bytes on its own. */
const pattern = Buffer.from(Uint8Array.from({ length: 64 * 1024 }, (_, i) => i & 255));

function* bytes(total: number): Generator<Buffer> {
  for (let left = total; left > 0; left -= pattern.length)
    yield left < pattern.length ? pattern.subarray(0, left) : pattern;
}

async function* ticks(ms: number): AsyncGenerator<string> {
  for (let n = 1; !stopping.signal.aborted; n++) {
    yield `id: ${n}\ndata: ${JSON.stringify({ pod: values.name, n })}\n\n`;
    await delay(ms, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = new URL(req.url ?? "/", "http://pod");
  const number = (name: string, otherwise: number) => Number(url.searchParams.get(name) ?? otherwise) || 0;
  res.setHeader("x-pod", values.name);
  if (stopping.signal.aborted) res.setHeader("connection", "close");
  const [, first, second] = url.pathname.split("/");
  switch (first) {
    case "headers":
      res.setHeader("content-type", "application/json");
      return void res.end(
        `${JSON.stringify({ pod: values.name, method: req.method, path: req.url, headers: req.headers }, null, 2)}\n`,
      );
    case "slow":
      await delay(number("ms", 1_000));
      break;
    case "stream":
      res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      return pipeline(ticks(number("ms", 1_000)), res);
    case "bytes": {
      const n = number("n", 1_024);
      res.writeHead(200, { "content-type": "application/octet-stream", "content-length": n });
      return pipeline(bytes(n), res);
    }
    case "upload": {
      const hash = createHash("sha256");
      let n = 0;
      for await (const chunk of req as AsyncIterable<Buffer>) {
        n += chunk.length;
        hash.update(chunk);
      }
      res.setHeader("content-type", "application/json");
      return void res.end(`${JSON.stringify({ pod: values.name, bytes: n, sha256: hash.digest("hex") })}\n`);
    }
    case "status":
      // 200 to 599; all else would not be the head of an answer.
      res.statusCode = /^[2-5]\d\d$/.test(second ?? "") ? Number(second) : 400;
      break;
  }
  res.setHeader("content-type", "text/plain; charset=utf-8");
  res.end(`${who}: ${req.method} ${req.url}\n`);
}

const servers = values.port.map((port) => {
  const server = createServer((req, res) => {
    // Node.js closes the connections that are idle when the server is closed, not those that become so later.
    res.once("close", () => stopping.signal.aborted && setImmediate(() => server.closeIdleConnections()));
    // Only a client that left breaks an answer here; there is nobody to tell.
    answer(req, res).catch(() => res.destroy());
  });
  const webSockets = new WebSocketServer({ server, handleProtocols: ([first]) => first ?? false });
  webSockets.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    socket.on("error", () => socket.terminate());
  });
  // Longer than any proxy's, so that the proxy ends idle connections, never this side in the middle of a request.
  server.keepAliveTimeout = 120_000;
  server.listen(Number(port), values.address);
  return { server, webSockets };
});

let listening = 0;
for (const { server } of servers)
  server.once("listening", () => {
    if (++listening === servers.length) process.send?.({ listening: true });
  });

process.once("SIGTERM", () => {
  stopping.abort();
  for (const { server, webSockets } of servers) {
    for (const socket of webSockets.clients) socket.close(1001, "the pod stops");
    server.close();
    server.closeIdleConnections();
  }
});
