// Clusters: create, list, look at, delete. A token is in the answer that makes it and nowhere else.
import { createRoute, type z } from "@hono/zod-openapi";
import {
  clusterAnswerSchema,
  clustersSchema,
  conditionsSchema,
  createdClusterSchema,
  endpointsSchema,
  nodesSchema,
  tableSchema,
} from "../../shared/control/answers.ts";
import { createClusterSchema } from "../../shared/control/requests.ts";
import type { RoutingTable } from "../routing/table.ts";
import type { Api } from "./context.ts";
import { requires } from "./auth.ts";
import { fewAtOnce } from "./few-at-once.ts";
import { jsonBody, jsonContent, responses } from "./openapi.ts";
import { refused } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { clusterOf, gatewayOf } from "./stubs.ts";

export function clusterRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/v1/clusters",
      summary: "Create a cluster; answers with its first token, once",
      middleware: [requires("admin"), ...jsonBody.middleware],
      request: { body: jsonBody.of(createClusterSchema) },
      responses: responses({ 201: jsonContent(createdClusterSchema) }, 409, 413, 415),
    }),
    async (c) => {
      const created = await gatewayOf(c.env).createCluster(c.req.valid("json"));
      if (!created.ok) return refused(c, created);
      const { cluster } = created;
      const { token } = await clusterOf(c.env, cluster.name).create(cluster);
      return c.json({ cluster, token }, 201);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/clusters",
      summary: "List the clusters",
      middleware: [requires("admin")],
      responses: responses({ 200: jsonContent(clustersSchema) }),
    }),
    async (c) => c.json({ clusters: await gatewayOf(c.env).listClusters() }),
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/clusters/{cluster}",
      summary: "One cluster",
      middleware: [requires("cluster")],
      request: { params: clusterParams },
      responses: responses({ 200: jsonContent(clusterAnswerSchema) }, 404),
    }),
    (c) => c.json({ cluster: c.get("cluster") }),
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/api/v1/clusters/{cluster}",
      summary: "Delete a cluster: its tokens, sockets, hostnames and state",
      middleware: [requires("admin")],
      request: { params: clusterParams },
      responses: responses({ 204: { description: "Deleted" } }, 404),
    }),
    async (c) => {
      const deleted = await gatewayOf(c.env).deleteCluster(c.req.valid("param").cluster);
      return deleted.ok ? c.body(null, 204) : refused(c, deleted);
    },
  );

  const view = (path: string, summary: string, schema: z.ZodType, more: object = {}) =>
    createRoute({
      method: "get",
      path: `/api/v1/clusters/{cluster}/${path}`,
      summary,
      middleware: [requires("cluster"), fewAtOnce] as const,
      request: { params: clusterParams },
      responses: responses({ 200: jsonContent(schema), ...more }, 404),
    });

  app.openapi(
    view("table", "The compiled routing table; its generation is the ETag", tableSchema, {
      304: { description: "Not modified" },
    }),
    async (c) => {
      const { name } = c.get("cluster");
      const known = /^"(\d+)"$/.exec(c.req.header("if-none-match") ?? "")?.[1];
      const answer = await clusterOf(c.env, name).table(known === undefined ? {} : { generation: Number(known) });
      c.header("etag", `"${answer.generation}"`);
      if (known === String(answer.generation)) return c.body(null, 304);
      const { generation } = answer;
      const nothing: RoutingTable = { version: 1, cluster: name, generation, nodes: [], routes: [], listeners: [] };
      return c.json(answer.table ?? nothing, 200);
    },
  );
  app.openapi(view("nodes", "Nodes, as snapshot, tunnel and probes see them", nodesSchema), async (c) =>
    c.json(await clusterOf(c.env, c.get("cluster").name).nodes(), 200),
  );
  app.openapi(view("endpoints", "Endpoints of the last good snapshot", endpointsSchema), async (c) =>
    c.json({ endpoints: await clusterOf(c.env, c.get("cluster").name).endpoints() }, 200),
  );
  app.openapi(view("conditions", "Conditions by Service", conditionsSchema), async (c) =>
    c.json({ services: await clusterOf(c.env, c.get("cluster").name).conditions() }, 200),
  );
}
