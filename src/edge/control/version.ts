// What the edge is, for whoever administers it.
import { createRoute } from "@hono/zod-openapi";
import manifest from "../../../package.json" with { type: "json" };
import { versionSchema } from "../../shared/control/answers.ts";
import type { Api } from "./context.ts";
import { requires } from "./auth.ts";
import { jsonContent, responses } from "./openapi.ts";

export function versionRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/v1/version",
      summary: "The edge's version",
      // A stranger need not know which faults it has.
      middleware: [requires("any")],
      responses: responses({ 200: jsonContent(versionSchema) }),
    }),
    (c) => c.json({ software: `postern-edge ${manifest.version}` }, 200),
  );
}
