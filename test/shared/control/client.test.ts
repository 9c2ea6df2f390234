// The client of the control API over a scripted exchange: what it sends, what it makes of answers, and that the token stays where
// it belongs. Against the real edge: test/edge/control/client.worker.test.ts.
import { describe, expect, test } from "vitest";
import {
  type Answer,
  ControlClient,
  type Failure,
  type Incoming,
  orThrow,
  type Outgoing,
  type Send,
} from "../../../src/shared/control/client.ts";

const TOKEN = `pst_home_${"s".repeat(43)}`;

/** Asks for the cluster "home". */
const calls = {
  createCluster: (client: ControlClient) => client.createCluster({ name: "home" }),
  clusters: (client: ControlClient) => client.clusters(),
  createInstallCode: (client: ControlClient) => client.createInstallCode("home"),
  table: (client: ControlClient) => client.table("home", 7),
  nodes: (client: ControlClient) => client.nodes("home"),
  claimEpoch: (client: ControlClient) => client.claimEpoch("home"),
  putSnapshot: (client: ControlClient) =>
    client.putSnapshot("home", { epoch: 3, sequence: 14 }, new Uint8Array([0x1f, 0x8b])),
} as const;
const all = Object.entries(calls) as [keyof typeof calls, (client: ControlClient) => Promise<Answer<unknown>>][];

function scripted(
  send: Send,
  edge = "https://edge.test",
): { readonly client: ControlClient; readonly sent: Outgoing[] } {
  const sent: Outgoing[] = [];
  const target = { edge: new URL(edge), token: () => TOKEN };
  const client = new ControlClient(target, async (request) => {
    sent.push(request);
    return await send(request);
  });
  return { client, sent };
}

const answers =
  (status: number, said: unknown, headers: Readonly<Record<string, string>> = {}): Send =>
  async (): Promise<Incoming> => ({
    status,
    text: typeof said === "string" ? said : JSON.stringify(said),
    header: (name) => headers[name],
  });

async function failureOf(send: Send): Promise<Failure> {
  const answer = await scripted(send).client.claimEpoch("home");
  if (answer.ok) throw new Error("it was taken for an answer");
  return answer;
}

test.each(all)(
  "%s: the token is in the Authorization header, in no other part, and not where it fails",
  async (_, call) => {
    const reasons = [
      () => Promise.reject(new TypeError(`Headers.append: "Bearer ${TOKEN}" is an invalid header value.`)),
      answers(400, { reason: "bad", detail: `you sent ${TOKEN}`, remedy: TOKEN }),
      answers(200, { hello: TOKEN }),
      answers(302, TOKEN, { location: TOKEN }),
    ];
    for (const send of reasons) {
      const { client, sent } = scripted(send);
      const answer = await call(client);
      expect(answer.ok).toBe(false);
      expect(JSON.stringify(answer)).not.toContain("sss");
      expect(() => orThrow(answer)).not.toThrow(/sss/);
      const [{ url, headers, body, method }] = sent as [Outgoing];
      expect(headers["authorization"]).toBe(`Bearer ${TOKEN}`);
      const rest = { ...headers, authorization: "" };
      expect(JSON.stringify([method, url, rest, typeof body === "string" ? body : ""])).not.toContain("sss");
    }
  },
);

test.each<[keyof typeof calls, string, Readonly<Record<string, string>>, string | null]>([
  ["createCluster", "POST /api/v1/clusters", { "content-type": "application/json" }, '{"name":"home"}'],
  ["clusters", "GET /api/v1/clusters", {}, null],
  ["createInstallCode", "POST /api/v1/clusters/home/install-code", { "content-type": "application/json" }, "{}"],
  ["table", "GET /api/v1/clusters/home/table", { "if-none-match": '"7"' }, null],
  ["nodes", "GET /api/v1/clusters/home/nodes", {}, null],
  ["claimEpoch", "POST /api/v1/clusters/home/epoch", {}, null],
  [
    "putSnapshot",
    "PUT /api/v1/clusters/home/snapshot",
    { "content-type": "application/json", "content-encoding": "gzip", "postern-generation": "3.14" },
    "\u001f\u008b",
  ],
])("%s asks %s", async (name, line, headers, body) => {
  const { client, sent } = scripted(answers(500, ""), "https://edge.test/below");
  expect(await calls[name](client)).toMatchObject({ ok: false, asked: line.replace(" /", " /below/") });
  const [request] = sent as [Outgoing];
  expect(`${request.method} ${request.url}`).toBe(line.replace(" /", " https://edge.test/below/"));
  const common = { authorization: `Bearer ${TOKEN}`, accept: "application/json" };
  expect(request.headers).toEqual({ ...common, ...headers });
  const text = request.body instanceof Uint8Array ? String.fromCharCode(...request.body) : request.body;
  expect(text).toBe(body);
});

test("a name in a path cannot lead out of it", async () => {
  const { client, sent } = scripted(answers(500, ""));
  await client.nodes("home/../../x?y#z");
  expect(sent[0]?.url.href).toBe("https://edge.test/api/v1/clusters/home%2F..%2F..%2Fx%3Fy%23z/nodes");
});

test("the token is read for each call", async () => {
  const tokens = ["first", "second"];
  const seen: (string | undefined)[] = [];
  const client = new ControlClient(
    { edge: new URL("https://edge.test"), token: () => tokens.shift() ?? "" },
    async (request) => {
      seen.push(request.headers["authorization"]);
      return { status: 200, header: () => undefined, text: '{"epoch":1}' };
    },
  );
  await client.claimEpoch("home");
  await client.claimEpoch("home");
  expect(seen).toEqual(["Bearer first", "Bearer second"]);
});

describe("what comes back", () => {
  test("fields that are not known yet are no error, and are left out", async () => {
    const { client } = scripted(answers(200, { epoch: 4, since: "yesterday" }));
    expect(await client.claimEpoch("home")).toEqual({ ok: true, value: { epoch: 4 } });
  });

  test.each<[string, number, unknown, string]>([
    [
      "a problem",
      400,
      {
        type: "tag:postern.dev,2026:invalid-request",
        title: "Bad request",
        status: 400,
        reason: "invalid-request",
        detail: "body.name: must be a DNS label",
        field: "body.name",
        remedy: "choose another",
        requestId: "1",
        more: true,
      },
      "HTTP 400 invalid-request: body.name: must be a DNS label; field body.name; choose another",
    ],
    ["one without details", 404, { reason: "no-such-cluster" }, "HTTP 404 no-such-cluster"],
    ["a field alone", 413, { reason: "body-too-large", field: "body" }, "HTTP 413 body-too-large: field body"],
    ["a page", 502, "<html>Bad Gateway</html>", "HTTP 502"],
    ["somebody else's JSON", 500, { reason: 7, detail: ["x"] }, "HTTP 500"],
    ["JSON that is no object", 500, "null", "HTTP 500"],
    ["a redirect", 301, { reason: "moved", detail: "elsewhere" }, "HTTP 301: a redirect"],
  ])("%s is one sentence", async (_, status, said, why) => {
    expect(await failureOf(answers(status, said))).toMatchObject({
      status,
      why,
      asked: expect.stringMatching("epoch"),
    });
  });

  test("a sentence has an end", async () => {
    const { why } = await failureOf(answers(400, { reason: "long", detail: "x".repeat(1_000_000) }));
    expect(why.length).toBe(2_000);
  });

  test.each<[string, unknown]>([
    ["a page", "<html>Welcome</html>"],
    ["another API's answer", { hello: "world" }],
    ["nothing", ""],
  ])("%s with a 200 is no edge's: it has no status", async (_, said) => {
    const failure = await failureOf(answers(200, said));
    expect(failure).toEqual({
      ok: false,
      asked: "POST /api/v1/clusters/home/epoch",
      why: "edge.test answered, but not as a Postern edge does",
    });
  });

  test.each<[string, unknown, string]>([
    ["an error", new Error("connect ECONNREFUSED 127.0.0.1:8787"), "connect ECONNREFUSED 127.0.0.1:8787"],
    [
      "of several addresses the first one's",
      new AggregateError([new Error("connect ECONNREFUSED ::1:8787"), new Error("other")]),
      "connect ECONNREFUSED ::1:8787",
    ],
    [
      "what fetch() hides",
      new TypeError("fetch failed", { cause: new AggregateError([new Error("connect ECONNREFUSED ::1:8787")]) }),
      "connect ECONNREFUSED ::1:8787",
    ],
  ])("why nothing came: %s", async (_, error, why) => {
    const failure = await failureOf(async () => Promise.reject(error));
    expect(failure.status).toBeUndefined();
    expect(failure.why).toBe(`edge.test cannot be reached: ${why}`);
  });

  test.each([
    ["2", 2_000],
    ["0", undefined],
    ["Fri, 27 Nov 2026 08:00:00 GMT", undefined],
  ])("Retry-After: %s", async (value, afterMs) => {
    expect((await failureOf(answers(503, {}, { "retry-after": value }))).afterMs).toBe(afterMs);
  });

  test("a table that is still the same is none", async () => {
    expect(await scripted(answers(304, "")).client.table("home", 7)).toEqual({ ok: true, value: undefined });
    expect(await scripted(answers(304, "")).client.table("home")).toMatchObject({ ok: false, status: 304 });
  });

  test("thrown, it names what was asked", async () => {
    const answer = await scripted(answers(409, { reason: "cluster-exists" })).client.createCluster({ name: "home" });
    expect(() => orThrow(answer)).toThrow("POST /api/v1/clusters: HTTP 409 cluster-exists");
  });
});
