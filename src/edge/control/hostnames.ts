// Which clusters serve a hostname: weights and failover order, listed by the owning cluster or the admin.
import { createRoute } from "@hono/zod-openapi";
import { type DirectoryEntry, directoryEntrySchema } from "../../shared/control/answers.ts";
import { setMembersSchema } from "../../shared/control/requests.ts";
import type { Api, Principal } from "./context.ts";
import { agentsToken, requires } from "./auth.ts";
import { jsonBody, jsonContent, responses } from "./openapi.ts";
import { problem, refused } from "./problem.ts";
import { hostnameParams } from "./schemas.ts";
import { gatewayOf } from "./stubs.ts";

export function hostnameRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/hostnames/{hostname}",
      summary: "Who owns and who serves a hostname",
      middleware: [requires("any")],
      request: { params: hostnameParams },
      responses: responses({ 200: jsonContent(directoryEntrySchema) }, 404),
    }),
    async (c) => {
      const { hostname } = c.req.valid("param");
      const entry = await gatewayOf(c.env).getHostname(hostname);
      if (entry === undefined || !maySee(entry, c.get("principal")))
        return problem(c, { status: 404, reason: "no-such-hostname", detail: `${hostname} is not claimed` });
      return c.json(entry, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "put",
      path: "/api/v1/hostnames/{hostname}",
      summary: "List the clusters that serve a hostname; the owner alone is the default",
      description: "By the admin, or the owner's token of the cluster that has the hostname.",
      middleware: [requires("any"), ...jsonBody.middleware],
      request: { params: hostnameParams, body: jsonBody.of(setMembersSchema) },
      responses: responses({ 200: jsonContent(directoryEntrySchema) }, 404, 409, 413, 415),
    }),
    async (c) => {
      const principal = c.get("principal");
      if (principal.kind === "cluster" && principal.role !== "owner") return problem(c, agentsToken);
      const by = principal.kind === "admin" ? ({ admin: true } as const) : { cluster: principal.cluster.name };
      const { hostname } = c.req.valid("param");
      const answer = await gatewayOf(c.env).setMembers(hostname, c.req.valid("json").members, by);
      if (!answer.ok) return refused(c, answer);
      return c.json(answer.entry, 200);
    },
  );
}

/** To a cluster, a hostname that it neither owns nor serves is one that nobody has. */
export const maySee = (entry: DirectoryEntry, principal: Principal): boolean =>
  principal.kind === "admin" ||
  entry.owner === principal.cluster.name ||
  entry.members.some(({ cluster }) => cluster === principal.cluster.name);
