// The control API, put together: what every answer has in common, the routes, and the OpenAPI document that is made when it
// is first asked for. Built by the first request, kept for the isolate's life; holds nothing of any request.
import { OpenAPIHono } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import { type Forwarded, forwarded } from "../http/forwarded.ts";
import { agentFileRoutes } from "./agent-files.ts";
import { readOut } from "./body.ts";
import { clusterRoutes } from "./clusters.ts";
import type { Api } from "./context.ts";
import { hostnameRoutes } from "./hostnames.ts";
import { INSTALL_PATH, installRoutes } from "./install.ts";
import { logRoutes } from "./logs.ts";
import { probeRoutes } from "./probe.ts";
import { problem } from "./problem.ts";
import { publishRoutes } from "./publish.ts";
import { tokenRoutes } from "./tokens.ts";
import { tunnelRoutes } from "./tunnel.ts";
import { versionRoutes } from "./version.ts";

/** Stands in for a request that came by no listener. The Worker's entry refuses those, so no handler sees it. */
const nowhere: Forwarded = { client: "", port: undefined, scheme: "http", again: false, trusted: false };

let built: Api | undefined;

export function api(): Api {
  built ??= build();
  return built;
}

function build(): Api {
  const app: Api = new OpenAPIHono({
    defaultHook: (result, c) => {
      if (result.success) return undefined;
      const target = result.target === "json" ? "body" : result.target;
      const { detail, field } = firstIssue(result.error.issues, target);
      return problem(c, { status: 400, reason: "invalid-request", detail, field });
    },
  });
  app.use(async (c, next) => {
    // Only Cloudflare sets CF-Ray reliably; behind a listener proxy a client may have written it.
    const ray = c.env.FORWARDER_SECRET === undefined ? c.req.header("cf-ray") : undefined;
    c.set("requestId", ray ?? crypto.randomUUID());
    c.set("from", forwarded(c.req.raw, c.env.FORWARDER_SECRET) ?? nowhere);
    const { body } = c.req.raw;
    await next();
    // The answer to a dial is the object's own, with its socket.
    if (c.res.status === 101) return;
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-postern-request-id", c.get("requestId"));
    await readOut(body);
  });
  app.notFound((c) =>
    problem(c, {
      status: 404,
      reason: "no-such-path",
      detail: `nothing is at ${c.req.method} ${c.req.path}`,
      remedy: "see /openapi.json",
    }),
  );
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.status === 415)
      return problem(c, {
        status: 415,
        reason: "not-json",
        detail: "the body must be JSON",
        field: "header.content-type",
        remedy: "send `content-type: application/json`",
      });
    if (error instanceof HTTPException && error.status === 400)
      return problem(c, { status: 400, reason: "invalid-json", detail: "the body is not JSON", field: "body" });
    const { overloaded, retryable } = error as { overloaded?: boolean; retryable?: boolean };
    if (overloaded === true || retryable === true)
      return problem(c, {
        status: 503,
        reason: "object-unavailable",
        detail: "the edge's state cannot be reached at the moment",
        remedy: "try again",
      });
    // The rest of such a path is an install code, which must not be logged.
    const path = c.req.path.startsWith(INSTALL_PATH) ? `${INSTALL_PATH}…` : c.req.path;
    console.error(`request ${c.get("requestId")}: ${c.req.method} ${path}`, error);
    return problem(c, {
      status: 500,
      reason: "internal",
      detail: "a fault of the edge",
      remedy: "report it with the request id",
    });
  });

  app.get("/healthz", (c) => c.json({ ok: true }));
  let document: ReturnType<Api["getOpenAPI31Document"]> | undefined;
  app.get("/openapi.json", (c) => {
    document ??= app.getOpenAPI31Document({
      openapi: "3.1.0",
      info: { title: "Postern control API", version: "1" },
      security: [{ bearer: [] }],
    });
    return c.json(document);
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description:
      "The admin's token, or a cluster's, which can touch that cluster alone. A cluster's first token is its owner's; those of install codes are agents': they publish, dial, read, and rotate themselves.",
  });
  clusterRoutes(app);
  tokenRoutes(app);
  installRoutes(app);
  agentFileRoutes(app);
  publishRoutes(app);
  hostnameRoutes(app);
  tunnelRoutes(app);
  probeRoutes(app);
  logRoutes(app);
  versionRoutes(app);
  return app;
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly code?: string | undefined;
  readonly keys?: readonly string[];
}

/** path ["members", 0, "weight"] of the body reads body.members[0].weight */
function firstIssue(issues: readonly Issue[], target: string): { detail: string; field: string } {
  const [issue] = issues;
  let field = target;
  for (const key of [...(issue?.path ?? []), ...(issue?.keys?.slice(0, 1) ?? [])])
    field += typeof key === "number" ? `[${key}]` : `.${String(key).slice(0, 64)}`;
  const message = issue?.keys === undefined ? issue?.message : "is not a field of this request";
  return { detail: `${field}: ${message}`, field };
}
