// Who asks: the admin, or one cluster by its token. The admin's token is compared by hash in constant time; a cluster's token
// is judged by the ClusterObject that it names. To a cluster's token every other cluster looks the same, existing or not.
/// <reference lib="esnext.typedarrays" />
import type { Context, MiddlewareHandler } from "hono";
import { type ClusterRecord, TOKEN_PATTERN } from "../objects/contract.ts";
import type { ControlEnv } from "./api.ts";
import { problem } from "./problem.ts";
import { clusterOf, gatewayOf } from "./stubs.ts";

export type Principal =
  | { readonly kind: "admin" }
  | { readonly kind: "cluster"; readonly cluster: ClusterRecord; readonly tokenId: string };

/** `admin`: nobody else. `cluster`: the admin, or the token of the cluster in the path. `any`: the handler decides. */
export function requires(who: "admin" | "cluster" | "any"): MiddlewareHandler<ControlEnv> {
  return async (c, next) => {
    const principal = await authenticate(c);
    if (principal instanceof Response) return principal;
    if (principal.kind === "cluster" && !mayPass(who, principal.cluster.name, c.req.param("cluster")))
      return problem(c, {
        status: 403,
        reason: "not-allowed",
        detail: `the token of cluster ${principal.cluster.name} can touch that cluster alone`,
        remedy: "use the admin's token",
      });
    c.set("principal", principal);
    if (who === "cluster") {
      const cluster = principal.kind === "cluster" ? principal.cluster : await existing(c);
      if (cluster === undefined)
        return problem(c, { status: 404, reason: "no-such-cluster", detail: "this cluster does not exist" });
      c.set("cluster", cluster);
    }
    return await next();
  };
}

const mayPass = (who: "admin" | "cluster" | "any", own: string, asked: string | undefined): boolean =>
  who === "any" || (who === "cluster" && own === asked);

const existing = async (c: Context<ControlEnv>): Promise<ClusterRecord | undefined> =>
  await gatewayOf(c.env).getCluster(c.req.param("cluster") ?? "");

async function authenticate(c: Context<ControlEnv>): Promise<Principal | Response> {
  const token = /^Bearer +([^\s]+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  if (token === undefined)
    return problem(c, {
      status: 401,
      reason: "no-token",
      detail: "this needs a bearer token",
      field: "header.authorization",
      remedy: "send `Authorization: Bearer <token>`, the admin's or the cluster's",
    });
  const name = TOKEN_PATTERN.exec(token)?.[1];
  if (name !== undefined) {
    const verified = await clusterOf(c.env, name).verify(token);
    if (verified.ok) return { kind: "cluster", cluster: verified.cluster, tokenId: verified.tokenId };
  } else if (!c.env.ADMIN_TOKEN_SHA256) {
    // Empty, or in production a secret that nobody has set.
    return problem(c, {
      status: 401,
      reason: "no-admin",
      detail: "this edge has no admin token: the setting ADMIN_TOKEN_SHA256 is empty",
      remedy: "set it to the hex SHA-256 of a random token",
    });
  } else if (await isAdmin(token, c.env.ADMIN_TOKEN_SHA256)) return { kind: "admin" };
  return problem(c, {
    status: 401,
    reason: "unknown-token",
    detail: "the token is not, or no longer, valid",
    field: "header.authorization",
    remedy: "ask the edge's admin for a new one",
  });
}

async function isAdmin(token: string, sha256: string): Promise<boolean> {
  if (!/^[0-9a-f]{64}$/i.test(sha256)) throw new Error("ADMIN_TOKEN_SHA256 is not 64 hex digits");
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return crypto.subtle.timingSafeEqual(hash, Uint8Array.fromHex(sha256));
}
