// What the edge is, for whoever administers it.
import { createRoute } from "@hono/zod-openapi";
import manifest from "../../../package.json" with { type: "json" };
import { versionSchema } from "../../shared/control/answers.ts";
import { agentIndex } from "./agent-files.ts";
import type { Api } from "./context.ts";
import { requires } from "./auth.ts";
import { jsonContent, responses } from "./openapi.ts";

export function versionRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/version",
      summary: "The edge's version, and which agent it hands out",
      // A stranger need not know which faults it has.
      middleware: [requires("any")],
      responses: responses({ 200: jsonContent(versionSchema) }),
    }),
    async (c) => {
      // A build without an agent serves all the same.
      const agent = await agentIndex(c.env).catch(() => undefined);
      const software = `postern-edge ${manifest.version}`;
      if (agent === undefined) return c.json({ software }, 200);
      return c.json({ software, agent: { version: agent.version, sha256: agent.main } }, 200);
    },
  );
}
