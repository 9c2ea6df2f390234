// The tokens of a cluster: list, rotate, revoke. A cluster may have several, one for each install; withdrawing one leaves the
// others alone, but for those that came of it. A token is in the answer that makes it and nowhere else: here they are named
// by their ids. An agent's token may rotate itself, and nothing else here.
import { createRoute, z } from "@hono/zod-openapi";
import { tokenSchema, tokensSchema } from "../../shared/control/answers.ts";
import { tokenIdSchema } from "../../shared/control/requests.ts";
import type { Api } from "./context.ts";
import { agentsToken, requires } from "./auth.ts";
import { jsonContent, responses } from "./openapi.ts";
import { problem, refused } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { clusterOf } from "./stubs.ts";

export function tokenRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/v1/clusters/{cluster}/token",
      summary: "Rotate the token that asks, or the one named; the old one stops at once and its sockets are closed",
      description: "What it made stays, and is the new one's. An agent's token can rotate itself alone.",
      middleware: [requires("cluster")],
      request: { params: clusterParams, query: z.object({ token: tokenIdSchema.optional() }) },
      responses: responses({ 200: jsonContent(tokenSchema) }, 404, 409),
    }),
    async (c) => {
      const cluster = c.get("cluster");
      const principal = c.get("principal");
      const object = clusterOf(c.env, cluster.name);
      const own = principal.kind === "cluster" ? principal.tokenId : undefined;
      const asked = c.req.valid("query").token ?? own;
      if (principal.kind === "cluster" && principal.role !== "owner" && asked !== own) return problem(c, agentsToken);
      const rotated = await object.rotate(asked);
      if (rotated.ok) return c.json({ token: rotated.token }, 200);
      // The directory knows the cluster and its object does not: creating it was interrupted, and is completed here.
      if (rotated.reason === "not-created") return c.json(await object.create(cluster), 200);
      return refused(c, rotated);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/clusters/{cluster}/tokens",
      summary: "The tokens of a cluster, by id",
      middleware: [requires("owner")],
      request: { params: clusterParams },
      responses: responses({ 200: jsonContent(tokensSchema) }, 404),
    }),
    async (c) => {
      const listed = await clusterOf(c.env, c.get("cluster").name).tokens();
      return listed.ok ? c.json({ tokens: listed.tokens }, 200) : refused(c, listed);
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/api/v1/clusters/{cluster}/tokens/{token}",
      summary: "Revoke one token and what came of it: they stop at once and their sockets are closed",
      description: "What came of it: its install codes, and the tokens that were minted by them.",
      middleware: [requires("owner")],
      request: { params: clusterParams.extend({ token: tokenIdSchema }) },
      responses: responses({ 204: { description: "Revoked" } }, 404),
    }),
    async (c) => {
      const revoked = await clusterOf(c.env, c.get("cluster").name).revoke(c.req.valid("param").token);
      return revoked.ok ? c.body(null, 204) : refused(c, revoked);
    },
  );
}
