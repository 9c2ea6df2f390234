// Asking as a client does, of servers on this machine: who answers, with what, and whether that is a Postern edge.
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { askOutside } from "../../../cli/doctor/outside.ts";
import { Authority, type Certificate } from "./certificates.ts";

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** `certificate`: by TLS. */
async function serving(answer: RequestListener, certificate?: Certificate): Promise<number> {
  const server = certificate === undefined ? createServer(answer) : createTlsServer({ ...certificate }, answer);
  server.listen(0, "127.0.0.1");
  open.push(server);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const asked = (port: number, hostname = "127.0.0.1") =>
  askOutside({ service: "default/web", hostname, port, tls: false });

it("an edge that passes requests on is known by its refusal of what has come in circles", async () => {
  const seen: (string | undefined)[] = [];
  const port = await serving((request, response) => {
    const marks = String(request.headers["cdn-loop"] ?? "").split(",");
    if (marks.length >= 16) return response.writeHead(508, { "x-postern-reason": "loop" }).end();
    seen.push(request.headers.host);
    return response.end("hello");
  });
  expect(await asked(port)).toMatchObject({
    addresses: ["127.0.0.1"],
    isPostern: true,
    answer: { status: 200, text: "hello" },
  });
  // The server behind it is asked once.
  expect(seen).toEqual([`127.0.0.1:${port}`]);
});

it("why the edge answers in the server's place is kept", async () => {
  const port = await serving((_, response) =>
    response.writeHead(403, { "x-postern-reason": "source-refused" }).end("no"),
  );
  expect(await asked(port)).toMatchObject({ isPostern: true, answer: { status: 403, reason: "source-refused" } });
});

it("any other server is none", async () => {
  const port = await serving((_, response) => response.end("mine"));
  expect(await asked(port)).toMatchObject({ isPostern: false, answer: { status: 200, text: "mine" } });
});

it("an endless body is no reason to wait", async () => {
  const port = await serving((_, response) => void response.write("x".repeat(5_000)));
  expect((await asked(port)).answer?.text).toHaveLength(1_000);
});

it("nobody there, and no such name", async () => {
  const port = await serving(() => {});
  const [server] = open.splice(0);
  server?.close();
  const refused = await asked(port);
  expect(refused.failed).toMatch(/ECONNREFUSED/);
  expect(refused).not.toHaveProperty("isPostern");
  const unknown = await asked(80, "no-such-name.invalid");
  expect(unknown.addresses).toEqual([]);
  expect(unknown.failed).toMatch(/ENOTFOUND|EAI_AGAIN|no answer/);
});

describe("the certificate of a listener", () => {
  const known = getCACertificates("default");
  let authority: Authority;
  let stranger: Authority;
  beforeAll(() => {
    authority = new Authority();
    stranger = new Authority();
    setDefaultCACertificates([authority.cert]);
  });
  afterAll(() => {
    setDefaultCACertificates(known);
    authority.remove();
    stranger.remove();
  });

  it.each<[what: string, certificate: () => Certificate, wrong: RegExp, days: number]>([
    ["is well", () => authority.issue("localhost"), /^$/, 365],
    ["ended yesterday", () => authority.issue("localhost", -1), /^CERT_HAS_EXPIRED$/, -1],
    ["is another name's", () => authority.issue("other.test"), /^ERR_TLS_CERT_ALTNAME_INVALID$/, 365],
    ["is of an authority that nobody knows", () => stranger.issue("localhost"), /^UNABLE_TO_/, 365],
  ])("%s, and the answer is had all the same", async (_, certificate, wrong, days) => {
    const port = await serving((_request, response) => response.end("hello"), certificate());
    const asked = await askOutside({ service: "default/web", hostname: "localhost", port, tls: true });
    expect(asked).toMatchObject({ answer: { status: 200, text: "hello" } });
    expect(asked.certificate?.wrong).toMatch(wrong);
    expect(((asked.certificate?.until ?? 0) - Date.now()) / 86_400_000).toBeCloseTo(days, 1);
  });
});
