// The agent that this edge hands out: its index, and its files by their hashes. Files never change under their names, so they may be
// kept for ever; whoever fetches one checks it against the hash that it came to know by a manifest. No token is asked for: the files
// are Postern's, not the cluster's. Both come from the Worker's static assets, which nothing but this reads.
import { z } from "@hono/zod-openapi";
import {
  AGENT_FILE,
  AGENT_PATH,
  agentFilePath,
  type AgentIndex,
  agentIndexPath,
  agentIndexSchema,
} from "../../shared/control/agent-index.ts";
import type { Env } from "../env.ts";
import type { Api } from "./context.ts";
import { responses } from "./openapi.ts";
import { problem } from "./problem.ts";

/** The name in the URL says nothing: what answers is a binding. */
const asset = (env: Env, path: string, method = "GET"): Promise<Response> =>
  env.ASSETS.fetch(`http://assets${path}`, { method });

/** Throws where it is not there: a fault of the build. */
export async function agentIndex(env: Env): Promise<AgentIndex> {
  const answer = await asset(env, agentIndexPath);
  if (!answer.ok) throw new Error(`the assets have no ${agentIndexPath}: HTTP ${answer.status}`);
  return agentIndexSchema.parse(await answer.json());
}

export function agentFileRoutes(app: Api): void {
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/agent/{sha256}.mjs",
    summary: "A file of the agent, by the SHA-256 of its bytes, as the manifest names it",
    security: [],
    request: { params: z.object({ sha256: z.string() }) },
    responses: responses({ 200: { description: "JavaScript", content: { "text/javascript": {} } } }, 404),
  });
  // Hono routes HEAD here, too.
  app.get(`${AGENT_PATH}:file`, async (c) => {
    const hash = AGENT_FILE.exec(c.req.param("file"))?.[1];
    if (hash === undefined) return await c.notFound();
    const headers = {
      "content-type": "text/javascript",
      "cache-control": "public, max-age=31536000, immutable",
      "x-content-type-options": "nosniff",
      etag: `"${hash}"`,
    };
    if (c.req.header("if-none-match") === headers.etag) return c.body(null, 304, headers);
    const found = await asset(c.env, agentFilePath(hash), c.req.method);
    if (!found.ok) {
      await found.body?.cancel();
      const { version, main, probe } = await agentIndex(c.env);
      return problem(c, {
        status: 404,
        reason: "no-such-agent",
        detail: `this edge has no agent ${hash}: its own, of version ${version}, is ${main} (its probe ${probe})`,
        remedy: "apply a manifest of this edge: postern join NAME --apply",
      });
    }
    const length = found.headers.get("content-length");
    return new Response(found.body, { headers: { ...headers, ...(length !== null && { "content-length": length }) } });
  });
}
