// Stands in for Cloudflare's API: holds an account with its Workers, zones and tokens, answers what `wrangler deploy` and `postern
// deploy` (and, of its analytics, `postern doctor`) ask in the form in which Cloudflare does, records each call, and fails as it is told. It knows no call that they do not make.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { z } from "zod";

export const ACCOUNT = "a".repeat(32);
export type Right = "account" | "scripts" | "routes" | "dns" | "analytics";

export interface Call {
  readonly method: string;
  /** With its query. */
  readonly path: string;
}

interface Version {
  readonly id: string;
  readonly bindings: Readonly<Record<string, unknown>>;
}

class Refused extends Error {
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
const noWorker = (): Refused => new Refused(404, 10007, "This Worker does not exist on your account.");

const bindingSchema = z.looseObject({ name: z.string(), type: z.string(), text: z.string().optional() });
const metadataSchema = z.looseObject({ bindings: z.array(bindingSchema) });
const manifestSchema = z.object({ manifest: z.record(z.string(), z.object({ hash: z.string() })) });
const routesSchema = z.array(z.object({ pattern: z.string(), zone_name: z.string() }));
const originsSchema = z.array(z.object({ hostname: z.string() }));

const graphqlSchema = z.object({
  query: z.string(),
  variables: z.object({ account: z.string(), since: z.iso.datetime(), until: z.iso.datetime() }),
});

/** What a dataset has of one hour. */
export interface Counted {
  readonly dataset: string;
  /** Epoch ms. */
  readonly at: number;
  readonly sum: Readonly<Record<string, number>>;
  readonly dimensions?: Readonly<Record<string, string>>;
}

/** The Analytics API's answers are in no envelope. */
class Bare {
  readonly body: object;

  constructor(body: object) {
    this.body = body;
  }
}

type Answer = (found: readonly string[], body: Buffer, request: IncomingMessage, query: URLSearchParams) => unknown;

export class CloudflareStandIn {
  readonly calls: Call[] = [];
  /** Token → what it may do. */
  readonly tokens = new Map<string, ReadonlySet<Right>>();
  /** Name → its versions, the served one last. */
  readonly workers = new Map<string, Version[]>();
  readonly zones = new Map<string, string>();
  readonly routes: { pattern: string; zone: string; script: string }[] = [];
  readonly domains: { hostname: string; service: string }[] = [];
  readonly dns: { name: string; type: string; content: string }[] = [];
  readonly assets = new Set<string>();
  /** What its analytics have counted of the account. */
  readonly counted: Counted[] = [];
  /** Asked before each call is answered: "close" breaks its connection. */
  fault: (call: Call) => "close" | undefined = () => undefined;
  readonly #server: Server;
  #versions = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<CloudflareStandIn> {
    const server = createServer();
    const standIn = new CloudflareStandIn(server);
    server.on("request", (request, response) => {
      void standIn.#answer(request).then((answer) => {
        if (answer === undefined) return response.destroy();
        response.writeHead(answer.status, { "content-type": "application/json" });
        return response.end(JSON.stringify(answer.body));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get writes(): string[] {
    return this.calls.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path}`);
  }

  /** Of the version that is served. */
  bindings(worker: string): Readonly<Record<string, unknown>> {
    return this.workers.get(worker)?.at(-1)?.bindings ?? {};
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: object } | undefined> {
    const body = await buffer(request).catch(() => Buffer.alloc(0));
    const call = { method: request.method ?? "", path: request.url ?? "" };
    this.calls.push(call);
    if (this.fault(call) === "close") return undefined;
    try {
      const result = this.#result(call, body, request);
      if (result instanceof Bare) return { status: 200, body: result.body };
      return { status: 200, body: { success: true, errors: [], messages: [], result } };
    } catch (error) {
      const { status, code, message } = error instanceof Refused ? error : new Refused(500, 1, String(error));
      return { status, body: { success: false, errors: [{ code, message }], messages: [], result: null } };
    }
  }

  #result({ method, path }: Call, body: Buffer, request: IncomingMessage): unknown {
    const { pathname, searchParams } = new URL(path, "http://api");
    for (const [of, pattern, right, answer] of this.#table) {
      const found = of === method ? pattern.exec(pathname) : null;
      if (found === null) continue;
      // What is uploaded is authorised by the session that asked for it.
      const rights = this.tokens.get((request.headers.authorization ?? "").replace(/^Bearer /, ""));
      if (rights === undefined && right !== undefined) throw new Refused(401, 9109, "Invalid access token");
      if (right !== undefined && rights?.has(right) !== true) throw new Refused(403, 10000, "Authentication error");
      return answer(found.slice(1), body, request, searchParams);
    }
    throw new Refused(405, 7001, `the stand-in does not know ${method} ${pathname}`);
  }

  /** Those datasets and fields that the query names, under the names that it gives them. */
  #analytics(query: string, since: number, until: number): Record<string, object[]> {
    const nodes = query.matchAll(/(\w+): (\w+)\([^)]*\) \{\s*sum \{([^}]*)\}(?: dimensions \{([^}]*)\})?\s*\}/g);
    const words = (text = ""): string[] => text.split(/\s+/).filter((word) => word !== "");
    return Object.fromEntries(
      [...nodes].map(([, alias = "", of, fields, by]) => {
        const groups = new Map<string, { dimensions: object; sum: Record<string, number> }>();
        for (const { dataset, at, sum, dimensions = {} } of this.counted) {
          if (dataset !== of || at < since || at >= until) continue;
          const own = Object.fromEntries(words(by).map((name) => [name, dimensions[name]]));
          const group = groups.get(JSON.stringify(own)) ?? { dimensions: own, sum: {} };
          groups.set(JSON.stringify(own), group);
          for (const field of words(fields)) group.sum[field] = (group.sum[field] ?? 0) + (sum[field] ?? 0);
        }
        return [alias, [...groups.values()]];
      }),
    );
  }

  #worker(name = ""): Version[] {
    const found = this.workers.get(name);
    if (found === undefined) throw noWorker();
    return found;
  }

  readonly #table: readonly (readonly [method: string, path: RegExp, right: Right | undefined, answer: Answer])[] = [
    [
      "GET",
      /^\/user\/tokens\/verify$/,
      "account",
      (_, __, { headers }) => {
        // A token of an account, and of no user.
        if (headers.authorization?.startsWith("Bearer cfat_") === true)
          throw new Refused(401, 1000, "Invalid API Token");
        return { id: "1", status: "active" };
      },
    ],
    [
      "POST",
      /^\/graphql$/,
      undefined,
      (_, body, { headers }) => {
        const rights = this.tokens.get((headers.authorization ?? "").replace(/^Bearer /, ""));
        if (rights === undefined) throw new Refused(403, 10000, "Authentication error");
        const { query, variables } = graphqlSchema.parse(JSON.parse(body.toString()));
        if (!rights.has("analytics") || variables.account !== ACCOUNT)
          return new Bare({ data: null, errors: [{ message: "not authorized for that account" }] });
        const account = this.#analytics(query, Date.parse(variables.since), Date.parse(variables.until));
        return new Bare({ data: { viewer: { accounts: [account] } }, errors: null });
      },
    ],
    ["GET", /^\/accounts$/, "account", () => [{ id: ACCOUNT, name: "Test" }]],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/services\/([\w-]+)$/,
      "scripts",
      ([name]) => {
        this.#worker(name);
        return {
          id: name,
          default_environment: { environment: "production", script: { last_deployed_from: "wrangler" } },
        };
      },
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)\/secrets$/,
      "scripts",
      ([name]) => {
        this.#worker(name);
        const all = Object.entries(this.bindings(name ?? ""));
        return all
          .filter(([, value]) => value === "secret_text")
          .map(([each]) => ({ name: each, type: "secret_text" }));
      },
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)\/deployments$/,
      "scripts",
      ([name]) => ({
        deployments: this.#worker(name)
          .toReversed()
          .map(({ id }) => ({ id, versions: [{ version_id: id, percentage: 100 }] })),
      }),
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)\/(?:settings|script-settings)$/,
      "scripts",
      ([name]) => {
        this.#worker(name);
        return { bindings: [], migration_tag: "v1" };
      },
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/workers\/([\w-]+)$/,
      "scripts",
      ([name]) => (this.#worker(name), { name, subdomain: { enabled: false, previews_enabled: false } }),
    ],
    [
      "POST",
      /^\/accounts\/\w+\/workers\/scripts\/[\w-]+\/assets-upload-session$/,
      "scripts",
      (_, body) => {
        const { manifest } = manifestSchema.parse(JSON.parse(body.toString()));
        const missing = [...new Set(Object.values(manifest).map(({ hash }) => hash))].filter(
          (hash) => !this.assets.has(hash),
        );
        return { jwt: "session", buckets: missing.length === 0 ? [] : [missing] };
      },
    ],
    [
      "POST",
      /^\/accounts\/\w+\/workers\/assets\/upload$/,
      undefined,
      (_, body, { headers }) => {
        if (headers.authorization !== "Bearer session") throw new Refused(401, 9109, "no upload session");
        for (const [, hash = ""] of body.toString("latin1").matchAll(/ name="([0-9a-f]{32})"/g)) this.assets.add(hash);
        return { jwt: "uploaded" };
      },
    ],
    [
      "PUT",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)$/,
      "scripts",
      ([name = ""], body) => {
        const [, text = ""] = / name="metadata"\r\n\r\n(.*)\r\n/.exec(body.toString("latin1")) ?? [];
        const { bindings } = metadataSchema.parse(JSON.parse(text));
        // A secret can be told from another one, and not read.
        const held = bindings.map(({ name: of, type, text: value }) => [of, type === "plain_text" ? value : type]);
        const id = `version-${++this.#versions}`;
        this.workers.set(name, [...(this.workers.get(name) ?? []), { id, bindings: Object.fromEntries(held) }]);
        return { id: name, tag: name, etag: id, deployment_id: id, startup_time_ms: 1 };
      },
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/scripts\/[\w-]+\/subdomain$/,
      "scripts",
      () => ({ enabled: false, previews_enabled: false }),
    ],
    [
      "POST",
      /^\/accounts\/\w+\/workers\/scripts\/[\w-]+\/subdomain$/,
      "scripts",
      () => ({ enabled: false, previews_enabled: false }),
    ],
    [
      "GET",
      /^\/zones$/,
      "account",
      (_, __, ___, query) =>
        [...this.zones]
          .filter(([name]) => name === query.get("name"))
          .map(([name, id]) => ({ id, name, status: "active" })),
    ],
    [
      "GET",
      /^\/zones\/(\w+)\/workers\/routes$/,
      "routes",
      ([zone]) =>
        this.routes
          .filter((route) => this.zones.get(route.zone) === zone)
          .map(({ pattern, script }) => ({ id: pattern, pattern, script })),
    ],
    [
      "GET",
      /^\/zones\/\w+\/dns_records$/,
      "dns",
      (_, __, ___, query) => this.dns.filter(({ name }) => name === query.get("name")),
    ],
    [
      "PUT",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)\/routes$/,
      "routes",
      ([script = ""], body) => {
        this.#worker(script);
        const wanted = routesSchema.parse(JSON.parse(body.toString()));
        this.routes.splice(0, this.routes.length, ...this.routes.filter((route) => route.script !== script));
        this.routes.push(...wanted.map(({ pattern, zone_name: zone }) => ({ pattern, zone, script })));
        return wanted.map(({ pattern }) => ({ pattern }));
      },
    ],
    [
      "GET",
      /^\/accounts\/\w+\/workers\/domains$/,
      "scripts",
      (_, __, ___, query) => this.domains.filter(({ hostname }) => hostname === query.get("hostname")),
    ],
    [
      "POST",
      /^\/accounts\/\w+\/workers\/scripts\/[\w-]+\/domains\/changeset$/,
      "scripts",
      (_, body) => {
        const wanted = originsSchema.parse(JSON.parse(body.toString()));
        const added = wanted.filter(({ hostname }) => !this.domains.some((each) => each.hostname === hostname));
        return { added, removed: [], updated: [], conflicting: [] };
      },
    ],
    [
      "PUT",
      /^\/accounts\/\w+\/workers\/scripts\/([\w-]+)\/domains\/records$/,
      "scripts",
      ([service = ""], body) => {
        const { origins } = z.object({ origins: originsSchema }).parse(JSON.parse(body.toString()));
        this.domains.splice(0, this.domains.length, ...this.domains.filter((each) => each.service !== service));
        this.domains.push(...origins.map(({ hostname }) => ({ hostname, service })));
        return origins;
      },
    ],
  ];
}
