// An agent's dial: authorises it and hands it to the TunnelObject of that shard, which the dial creates. The agent's token
// is not passed on: the object is told what was authorised, in a header that only this file writes.
import { z } from "@hono/zod-openapi";
import { DIAL_HEADER } from "../rpc/contract.ts";
import { tunnelName } from "../rpc/names.ts";
import type { Api } from "./context.ts";
import { requires } from "./auth.ts";
import { responses } from "./openapi.ts";
import { problem } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { clusterOf } from "./stubs.ts";

export function tunnelRoutes(app: Api): void {
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/api/v1/clusters/{cluster}/tunnel/{shard}",
    summary: "An agent's WebSocket to one shard, with the cluster's token",
    request: { params: clusterParams.extend({ shard: z.int().min(0).max(7) }) },
    responses: responses({ 101: { description: "The tunnel of src/shared/wire/README.md" } }, 404, 426),
  });
  app.get("/api/v1/clusters/:cluster/tunnel/:shard", requires("cluster"), async (c) => {
    const principal = c.get("principal");
    const { name, shards } = c.get("cluster");
    if (principal.kind === "admin")
      return problem(c, {
        status: 403,
        reason: "cluster-token-needed",
        detail: "a tunnel is dialled with the cluster's own token",
        remedy: "make one with POST /api/v1/clusters/{cluster}/token",
      });
    const shard = /^\d$/.test(c.req.param("shard")) ? Number(c.req.param("shard")) : Number.NaN;
    if (!(shard < shards))
      return problem(c, {
        status: 404,
        reason: "no-such-shard",
        detail: `cluster ${name} has ${shards} shard(s), counted from 0`,
        field: "param.shard",
      });
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket")
      return problem(c, {
        status: 426,
        reason: "not-a-websocket",
        detail: "this path takes WebSocket upgrades only",
        field: "header.upgrade",
      });
    await clusterOf(c.env, name).dialled(shard);
    const headers = new Headers(c.req.raw.headers);
    headers.delete("authorization");
    headers.set(DIAL_HEADER, JSON.stringify({ cluster: name, shard, shards, tokenId: principal.tokenId }));
    const object = c.env.TUNNEL.getByName(tunnelName(name, shard));
    const answer = await object.fetch(new Request(c.req.raw, { headers }));
    if (answer.status === 101) return answer;
    return problem(c, {
      status: 503,
      reason: "too-many-connections",
      detail: await answer.text(),
      remedy: "try again",
    });
  });
}
