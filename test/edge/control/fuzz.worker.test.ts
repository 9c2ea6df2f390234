// Random requests made from the OpenAPI document itself: whatever comes, the answer is one that the document declares, never a
// 500, and an error is always a problem that tells no token.
import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { ADMIN, type Problem, call, createCluster, forgetAll, published, service, snapshotOf } from "../worker/edge.ts";

afterEach(forgetAll);

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
}
interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const read = async (): Promise<Document> => await (await call("GET", "/openapi.json")).json<Document>();

const words = fc.constantFrom("home", "other", "absent", "web-default-home.edge.test", "x.example.com", "0", "7", "");
const strings = fc.oneof(
  words,
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ minLength: 60, maxLength: 300 }),
);

/** Mostly what the schema asks for, sometimes anything. */
function arbitrary(schema: Schema, document: Document): fc.Arbitrary<unknown> {
  const target = schema.$ref === undefined ? schema : document.components.schemas[schema.$ref.split("/").at(-1) ?? ""];
  return fc.oneof({ weight: 6, arbitrary: shaped(target ?? {}, document) }, { weight: 1, arbitrary: fc.jsonValue() });
}

function shaped(schema: Schema, document: Document): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.properties !== undefined) {
    const fields = Object.entries(schema.properties).map(
      ([name, value]) => [name, arbitrary(value, document)] as const,
    );
    const known = fc.record(Object.fromEntries(fields), { requiredKeys: [] });
    return fc
      .tuple(known, fc.option(fc.dictionary(strings, fc.jsonValue(), { maxKeys: 1 })))
      .map(([a, b]) => ({ ...b, ...a }));
  }
  if (schema.type === "array") return fc.array(arbitrary(schema.items ?? {}, document), { maxLength: 4 });
  if (schema.type === "integer")
    return fc.integer({ min: (schema.minimum ?? 0) - 1, max: (schema.maximum ?? 1000) + 1 });
  return strings;
}

/** The access log has no end: that it began is all there is to read. */
async function textOf(response: Response): Promise<string> {
  if (response.headers.get("content-type") !== "application/x-ndjson") return await response.text();
  await response.body?.cancel();
  return "";
}

describe("the OpenAPI document", () => {
  it("describes every path", async () => {
    const { openapi, paths } = await read();
    expect(openapi).toBe("3.1.0");
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace("/api/v1", "")}`),
    );
    expect(new Set(operations)).toEqual(
      new Set([
        "POST /clusters",
        "GET /clusters",
        "GET /clusters/{cluster}",
        "DELETE /clusters/{cluster}",
        "POST /clusters/{cluster}/token",
        "GET /clusters/{cluster}/tokens",
        "DELETE /clusters/{cluster}/tokens/{token}",
        "POST /clusters/{cluster}/install-code",
        "GET /install/{code}.yaml",
        "GET /agent/{sha256}.mjs",
        "POST /clusters/{cluster}/epoch",
        "PUT /clusters/{cluster}/snapshot",
        "GET /clusters/{cluster}/table",
        "GET /clusters/{cluster}/nodes",
        "GET /clusters/{cluster}/endpoints",
        "GET /clusters/{cluster}/conditions",
        "GET /clusters/{cluster}/tunnel/{shard}",
        "POST /clusters/{cluster}/probe",
        "GET /clusters/{cluster}/logs",
        "GET /hostnames/{hostname}",
        "PUT /hostnames/{hostname}",
        "GET /version",
      ]),
    );
  });

  it("is kept to, whatever comes", async () => {
    const document = await read();
    const own = await createCluster("home", { hostnames: ["*.example.com"] });
    await createCluster("other");
    await published("home", own, "1.0", snapshotOf(service("web")));
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );
    const request = fc.constantFrom(...operations).chain(({ path, method, operation }) => {
      const content = operation.requestBody?.content["application/json"];
      const parameters = (operation.parameters ?? []).map((each) =>
        fc.record({ name: fc.constant(each.name), in: fc.constant(each.in), value: fc.oneof(words, strings) }),
      );
      return fc.record({
        path: fc.constant(path),
        method: fc.constant(method),
        declared: fc.constant(Object.keys(operation.responses).map(Number)),
        parameters: fc.tuple(...parameters),
        body: content === undefined ? fc.constant(undefined) : arbitrary(content.schema, document),
        generation: fc.oneof(fc.constantFrom("1.1", "2.0", "9.9"), strings),
        token: fc.constantFrom(ADMIN, ADMIN, own, undefined, `pst_home_${"x".repeat(43)}`),
      });
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ path, method, declared, parameters, body, generation, token }) => {
        let target = path;
        for (const { name, in: where, value } of parameters)
          if (where === "path") target = target.replace(`{${name}}`, encodeURIComponent(value.toWellFormed()) || "-");
        const headers = /^[\x21-\x7e]*$/.test(generation) ? { "postern-generation": generation } : {};
        const response = await call(method, target, {
          // Its wrong tokens are not to keep the next test waiting.
          headers: { ...headers, "x-postern-client": "192.0.2.200" },
          ...(body !== undefined && { json: body }),
          ...(token !== undefined && { token }),
        });
        const text = await textOf(response);
        expect(declared).toContain(response.status);
        expect(response.headers.get("cache-control")).toBe("no-store");
        if (response.status < 400) return;
        expect(response.headers.get("content-type")).toBe("application/problem+json");
        const problem = JSON.parse(text) as Problem;
        expect(problem).toMatchObject({ reason: expect.stringMatching(/^[a-z0-9-]+$/), detail: expect.any(String) });
        if (token !== undefined) expect(text).not.toContain(token);
      }),
      { numRuns: 400 },
    );
  }, 60_000);

  it("bears anything at all: methods, paths, headers, bodies and tokens of others, and nothing comes of it", async () => {
    const { paths } = await read();
    const own = await createCluster("home");
    const other = await createCluster("other");
    await published("home", own, "1.0", snapshotOf(service("web")));
    const made = await call("POST", "/api/v1/clusters/home/install-code", { token: ADMIN });
    const { url } = await made.json<{ url: string }>();
    const redeemed = await call("GET", new URL(url).pathname, { headers: { "x-postern-proto": "https" } });
    const agent = /token: "(pst_home_[^"]+)"/.exec(await redeemed.text())?.[1] ?? "";
    expect(agent).not.toBe("");
    const objects = async (): Promise<string[]> => {
      const namespaces = [env.GATEWAY, env.CLUSTER, env.TUNNEL] as unknown as DurableObjectNamespace[];
      const ids = await Promise.all(namespaces.map(async (namespace) => await listDurableObjectIds(namespace)));
      return ids.flat().map(String).sort();
    };
    const tokens = async () => await (await call("GET", "/api/v1/clusters/home/tokens", { token: ADMIN })).json();
    const before = [
      await objects(),
      await tokens(),
      await (await call("GET", "/api/v1/clusters", { token: ADMIN })).json(),
    ];
    const text = fc.oneof(
      words,
      strings,
      fc.string({ unit: fc.constantFrom("a", "/", "%", ".", "{", '"', "é", "0"), maxLength: 2_000 }),
    );
    const path = fc.oneof(
      fc.constantFrom(...Object.keys(paths)).chain((template) => {
        const names = [...template.matchAll(/\{(\w+)\}/g)].map(([place]) => place);
        return fc
          .tuple(...names.map(() => text))
          .map((values) =>
            names.reduce(
              (filled, name, at) => filled.replace(name, encodeURIComponent((values[at] ?? "").toWellFormed())),
              template,
            ),
          );
      }),
      text.map((value) => `/${encodeURI(value.toWellFormed())}`),
    );
    const value = fc.string({
      unit: fc.constantFrom("a", "1", ".", ",", ";", "=", '"', "!", " "),
      maxLength: 300,
    });
    const headers = fc.dictionary(
      fc.constantFrom(
        ...[
          "accept",
          "accept-encoding",
          "cf-ray",
          "content-encoding",
          "content-type",
          "if-none-match",
          "origin",
          "range",
        ],
        ...["postern-generation", "upgrade", "x-forwarded-for", "x-postern-dial", "sec-websocket-key", "cookie"],
      ),
      fc.oneof(fc.constantFrom("gzip", "websocket", "application/json", '"1"', "1.1"), value),
      { maxKeys: 4 },
    );
    const body = fc.oneof(
      fc.json(),
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.constantFrom("[".repeat(20_000), `[${"{},".repeat(9_000)}{}]`, `{"members":[${"0,".repeat(15_000)}0]}`),
      fc.uint8Array({ maxLength: 400 }),
    );
    const request = fc.record({
      method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND"),
      path,
      query: fc.option(
        text.map((each) => `?${encodeURI(each.toWellFormed())}`),
        { nil: "" },
      ),
      headers,
      body,
      // Whose requests may change nothing that is compared below: another cluster's, a stranger's, nobody's.
      token: fc.constantFrom(
        other,
        undefined,
        `pst_home_${"x".repeat(43)}`,
        `pst_absent_${"x".repeat(43)}`,
        "x",
        agent,
      ),
      client: fc.nat(50).map((at) => `192.0.2.${at}`),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path: target, query, headers: more, body: sent, token, client }) => {
        // An agent may rotate itself, and thereby change the list of tokens.
        if (token === agent && method === "POST" && target.endsWith("/token")) return;
        const begun = performance.now();
        const response = await call(method, `${target}${query}`, {
          headers: { ...more, "x-postern-client": client },
          ...(method !== "GET" && method !== "HEAD" && { body: sent as BodyInit }),
          ...(token !== undefined && { token }),
        });
        response.webSocket?.accept();
        response.webSocket?.close(1000);
        const answer = await textOf(response);
        expect(response.status).not.toBe(500);
        expect(performance.now() - begun).toBeLessThan(5_000);
        if (response.status >= 400 && answer !== "")
          expect(JSON.parse(answer)).toMatchObject({ reason: expect.any(String) });
        expect(answer).not.toContain("pst_");
      }),
      { numRuns: 600 },
    );
    const [known = [], ...rest] = before;
    // Only an agent's dial makes a TunnelObject, its own cluster's.
    expect((await objects()).length - (known as string[]).length).toBeLessThanOrEqual(1);
    expect([await tokens(), await (await call("GET", "/api/v1/clusters", { token: ADMIN })).json()]).toEqual(rest);
  }, 120_000);
});
