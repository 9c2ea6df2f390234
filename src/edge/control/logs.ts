// GET …/logs: the access log of a cluster, live. The lines are made by its ClusterObject, and pass here unread.
import { createRoute } from "@hono/zod-openapi";
import { logFilterSchema, logLineSchema } from "../../shared/control/access-log.ts";
import { tables } from "../request/isolate.ts";
import { requires } from "./auth.ts";
import type { Api } from "./context.ts";
import { responses } from "./openapi.ts";
import { refused } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { clusterOf } from "./stubs.ts";

export function logRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/clusters/{cluster}/logs",
      summary: "The requests of a cluster's Services as they are answered, until the client goes",
      description:
        "A line of JSON each, from now on: nothing is kept. The first line comes at once, and one every 5 s says that all is well. By the " +
        "admin, or the owner's token of the cluster.",
      middleware: [requires("owner")] as const,
      request: { params: clusterParams, query: logFilterSchema },
      responses: responses(
        { 200: { description: "OK", content: { "application/x-ndjson": { schema: logLineSchema } } } },
        404,
      ),
    }),
    async (c) => {
      const { name } = c.get("cluster");
      const watched = await clusterOf(c.env, name).watchLog(c.req.valid("query"));
      if (!watched.ok) return refused(c, watched);
      // The requests that this isolate serves are in the log from now on; others hear of it with their next table.
      tables.watched(name, watched.until);
      return c.body(watched.lines, 200, { "content-type": "application/x-ndjson" });
    },
  );
}
