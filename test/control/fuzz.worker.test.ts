// Random requests made from the OpenAPI document itself: whatever comes, the answer is one that the document declares, never a
// 500, and an error is always a problem that tells no token.
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
        "POST /clusters/{cluster}/epoch",
        "PUT /clusters/{cluster}/snapshot",
        "GET /clusters/{cluster}/table",
        "GET /clusters/{cluster}/nodes",
        "GET /clusters/{cluster}/endpoints",
        "GET /clusters/{cluster}/conditions",
        "GET /clusters/{cluster}/tunnel/{shard}",
        "GET /hostnames/{hostname}",
        "PUT /hostnames/{hostname}",
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
          headers,
          ...(body !== undefined && { json: body }),
          ...(token !== undefined && { token }),
        });
        const text = await response.text();
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
});
