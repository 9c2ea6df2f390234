// The local edges' way to their API, against a real HTTP server: what it reads, and that the token goes nowhere else.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline, Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, createApi } from "../../src/host/control-client.ts";
import { ANSWER_MAX_BYTES } from "../../src/shared/control/client.ts";

describe("the API of a local edge", () => {
  let server: Server;
  let api: Api;
  /** "GET /api/v1/clusters", in order. */
  let asked: string[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const json = (response: ServerResponse, status: number, body: object) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

  beforeEach(async () => {
    asked = [];
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      answer(request, response);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    api = createApi(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, "admins-own-token");
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const home = { name: "home", createdAt: 1, hostnames: [], shards: 1 };

  it.each([
    ["makes the cluster that is to join", [], ["GET clusters", "POST clusters", "POST clusters/home/install-code"]],
    ["takes one that is there", [home], ["GET clusters", "POST clusters/home/install-code"]],
  ])("%s", async (_, clusters, expected) => {
    answer = ({ method, url }, response) => {
      if (method === "GET") json(response, 200, { clusters });
      else if (url?.endsWith("/clusters")) json(response, 201, { cluster: home, token: "pst_home" });
      else json(response, 201, { url: "u", command: "kubectl apply -f u", expiresAt: 1, uses: 5 });
    };
    expect(await api.installCommand("home")).toBe("kubectl apply -f u");
    expect(asked).toEqual(expected.map((line) => line.replace(" ", " /api/v1/")));
  });

  it("asks for a table that changed, and keeps one that did not", async () => {
    const known: (string | undefined)[] = [];
    answer = ({ headers }, response) => {
      known.push(headers["if-none-match"]);
      if (headers["if-none-match"] !== undefined) response.writeHead(304).end();
      else
        json(response, 200, {
          cluster: "home",
          generation: 7,
          listeners: [
            { hostname: "none.test", port: 80, tls: false, route: 1 },
            { hostname: "web.test", port: 80, tls: false, route: 0 },
          ],
          routes: [
            { service: "default/web", port: 80 },
            { service: "default/none", port: 80, unavailable: { reason: "no-endpoints", message: "none is ready" } },
          ],
        });
    };
    const listeners = [
      { hostname: "none.test", port: 80, tls: false, unavailable: "no-endpoints: none is ready" },
      { hostname: "web.test", port: 80, tls: false },
    ];
    expect(await api.listeners("home")).toEqual(listeners);
    expect(await api.listeners("home")).toEqual(listeners);
    expect(known).toEqual([undefined, '"7"']);
  });

  it("counts a node as connected that every shard has", async () => {
    const seen = (shard: number, available: boolean) => ({
      ...{ node: "", connections: [], available, reason: "", endpoints: [], shard },
    });
    answer = (_, response) =>
      json(response, 200, {
        nodes: [
          { node: "both", known: true, tunnel: [seen(0, true), seen(1, true)] },
          { node: "one", known: true, tunnel: [seen(0, true), seen(1, false)] },
          { node: "none", known: true, tunnel: [] },
        ],
        silentShards: [],
      });
    expect(await api.connectedNodes("home")).toEqual(new Set(["both"]));
  });

  it("follows no redirect", async () => {
    answer = (_, response) => void response.writeHead(307, { location: "/elsewhere" }).end();
    await expect(api.clusters()).rejects.toThrow("GET /api/v1/clusters: HTTP 307: a redirect");
    expect(asked).toEqual(["GET /api/v1/clusters"]);
  });

  it("reads no answer without an end", async () => {
    const piece = Buffer.alloc(1024 * 1024, " ");
    const endless = (function* () {
      for (;;) yield piece;
    })();
    answer = (_, response) => pipeline(Readable.from(endless), response, () => {});
    await expect(api.clusters()).rejects.toThrow(`an answer of more than ${ANSWER_MAX_BYTES} bytes`);
  });

  it("says what the edge says, and never the token", async () => {
    answer = (_, response) => json(response, 409, { reason: "cluster-exists", detail: "not for admins-own-token" });
    await expect(api.createCluster("home")).rejects.toThrow(
      "POST /api/v1/clusters: HTTP 409 cluster-exists: not for <token>",
    );
  });

  it("says why nothing answers", async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(api.clusters()).rejects.toThrow(
      /^GET \/api\/v1\/clusters: 127\.0\.0\.1:\d+ cannot be reached: connect /,
    );
    await once(server.listen(0, "127.0.0.1"), "listening");
  });
});
