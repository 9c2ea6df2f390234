// Joining a cluster with one `kubectl apply`: an install code, made by the admin or the cluster, is redeemed for the agent's
// manifest with edge, cluster and a new token filled in. The code stands in a URL, which others may log or fetch ahead; hence
// it is short-lived, good for a few uses, and never leads to a token that anybody holds already. It has 256 random bits: guessing
// one is hopeless, and limited by address besides (attempts.ts).
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { installCodeSchema } from "../../shared/control/answers.ts";
import { installCodeInputSchema } from "../../shared/control/requests.ts";
import { isNearby } from "../../shared/net/nearby.ts";
import { INSTALL_CODE_PATTERN } from "../rpc/contract.ts";
import type { Api, ControlEnv } from "./context.ts";
import { attempts, requires, tooManyAttempts } from "./auth.ts";
import { agentIndex } from "./agent-files.ts";
import { type AgentOrigin, installManifest } from "./install-manifest.ts";
import { jsonBody, jsonContent, responses } from "./openapi.ts";
import { problem, refused } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { clusterNamed, clusterOf } from "./stubs.ts";

export const INSTALL_PATH = "/install/";

export function installRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/v1/clusters/{cluster}/install-code",
      summary: "An install code: 15 minutes, a few uses, each with a new token",
      middleware: [requires("owner"), ...jsonBody.middleware],
      request: { params: clusterParams, body: { ...jsonBody.of(installCodeInputSchema), required: false } },
      responses: responses({ 201: jsonContent(installCodeSchema) }, 404, 413, 415),
    }),
    async (c) => {
      const principal = c.get("principal");
      const made = await clusterOf(c.env, c.get("cluster").name).createInstallCode({
        madeBy: principal.kind === "cluster" ? principal.tokenId : "",
        ...c.req.valid("json"),
      });
      if (!made.ok) return refused(c, made);
      const url = `${edgeUrl(c)}${INSTALL_PATH}${made.code}.yaml`;
      return c.json({ url, command: `kubectl apply -f ${url}`, expiresAt: made.expiresAt, uses: made.uses }, 201);
    },
  );

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/install/{code}.yaml",
    summary: "The agent's manifest for one cluster, with a new token; spends one use of the code",
    security: [],
    request: { params: z.object({ code: z.string() }) },
    responses: responses({ 200: { description: "Kubernetes YAML", content: { "text/yaml": {} } } }, 404, 409),
  });
  app.get(`${INSTALL_PATH}:file`, async (c) => {
    const code = /^(.+)\.yaml$/.exec(c.req.param("file"))?.[1] ?? "";
    const cluster = INSTALL_CODE_PATTERN.exec(code)?.[1];
    // Hono routes HEAD here, too. A HEAD request must not use up the code.
    if (c.req.method !== "GET") return await c.notFound();
    const edge = edgeUrl(c);
    const { client, scheme } = c.get("from");
    if (edge.startsWith("https:") && scheme !== "https")
      return problem(c, {
        status: 400,
        reason: "https-needed",
        detail: "the manifest holds a token and does not cross the network in the clear",
        remedy: "ask again with https://",
      });
    if (cluster === undefined) return unknown(c);
    if (!attempts.take(client, Date.now())) return problem(c, tooManyAttempts);
    // Before the code is spent.
    const files = await agentIndex(c.env);
    const redeemed = await (await clusterNamed(c.env, cluster))?.redeemInstallCode(code);
    if (redeemed === undefined || (!redeemed.ok && redeemed.status === 404)) return unknown(c);
    attempts.giveBack(client);
    if (!redeemed.ok) return refused(c, redeemed);
    const { token, image, nodeImage, options } = redeemed;
    const agent: AgentOrigin = image === undefined ? { files, nodeImage } : { image };
    return c.body(installManifest({ edge, cluster, token, agent, options }), 200, {
      "content-type": "text/yaml; charset=utf-8",
    });
  });
}

/** One answer for all that is wrong with a code, so that nothing can be learnt from it. */
const unknown = (c: Context<ControlEnv>): Response =>
  problem(c, {
    status: 404,
    reason: "unknown-install-code",
    detail: "this install code is wrong, used up or older than 15 minutes",
    remedy: "make a new one: POST /api/v1/clusters/{cluster}/install-code",
  });

/**
 * The URL that agents dial: PUBLIC_URL where the edge's owner has set it; else the host that a trusted proxy was asked for; else
 * the admin host. It is https, unless the request came by plain http and the host is this machine or in a private network.
 */
function edgeUrl(c: Context<ControlEnv>): string {
  if (c.env.PUBLIC_URL !== undefined) return c.env.PUBLIC_URL;
  const { scheme, trusted } = c.get("from");
  const asked = trusted ? (c.req.header("host") ?? "") : "";
  const host = /^[\w.:[\]-]+$/.test(asked) && URL.canParse(`http://${asked}`) ? asked : c.env.ADMIN_HOST;
  const plain = scheme === "http" && isNearby(new URL(`http://${host}`).hostname);
  return `${plain ? "http" : "https"}://${host}`;
}
