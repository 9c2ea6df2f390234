// Who asks: the admin, or one cluster by its token. The admin's token is compared by hash in constant time; a cluster's token
// is judged by the ClusterObject that it names, once that cluster is known to exist. To a cluster's token every other cluster
// looks the same, existing or not.
// Wrong tokens are limited by the sender's address (attempts.ts). Many clients may share one address (a home's NAT), so the limit
// must not keep out valid tokens: the admin's token always passes, because checking it costs no more than a hash, and so does a
// cluster's that this isolate has accepted before. A cluster's token that is new to the isolate counts as an attempt.
/// <reference lib="esnext.typedarrays" />
import type { Context, MiddlewareHandler } from "hono";
import type { ClusterRecord } from "../../shared/control/answers.ts";
import { TOKEN_PATTERN } from "../rpc/contract.ts";
import { Attempts } from "./attempts.ts";
import type { ControlEnv, Principal } from "./context.ts";
import { type Finding, problem } from "./problem.ts";
import { clusterNamed, gatewayOf } from "./stubs.ts";

/**
 * `admin`: nobody else. `owner`: the admin, or the owner's token of the cluster in the path. `cluster`: the agents' tokens of
 * that cluster as well. `any`: the handler decides.
 */
export type Who = "admin" | "owner" | "cluster" | "any";

/** The attempts of all sources at this isolate. */
export const attempts = new Attempts();

export const tooManyAttempts: Finding = {
  status: 429,
  reason: "too-many-attempts",
  detail: "too many wrong tokens or install codes came from your address",
  remedy: "wait some seconds, then try again with a valid one",
};

export const agentsToken: Finding = {
  status: 403,
  reason: "not-allowed",
  detail: "this is an agent's token: it publishes, dials and reads, and neither makes nor withdraws anything",
  remedy: "use the admin's token, or the one that creating the cluster was answered with",
};

export function requires(who: Who): MiddlewareHandler<ControlEnv> {
  return async (c, next) => {
    const principal = await authenticate(c);
    if (principal instanceof Response) return principal;
    if (principal.kind === "cluster") {
      const own = principal.cluster.name;
      if (who === "admin" || (who !== "any" && own !== c.req.param("cluster")))
        return problem(c, {
          status: 403,
          reason: "not-allowed",
          detail: `the token of cluster ${own} can touch that cluster alone`,
          remedy: "use the admin's token",
        });
      if (who === "owner" && principal.role !== "owner") return problem(c, agentsToken);
    }
    c.set("principal", principal);
    if (who === "cluster" || who === "owner") {
      const cluster = principal.kind === "cluster" ? principal.cluster : await existing(c);
      if (cluster === undefined)
        return problem(c, { status: 404, reason: "no-such-cluster", detail: "this cluster does not exist" });
      c.set("cluster", cluster);
    }
    return await next();
  };
}

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
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token)));
  const name = TOKEN_PATTERN.exec(token)?.[1];
  if (name !== undefined) return (await ofCluster(c, name, token, hash.toHex())) ?? problem(c, unknownToken);
  // The setting is empty, or it is a secret that nobody has set.
  if (!c.env.ADMIN_TOKEN_SHA256)
    return problem(c, {
      status: 401,
      reason: "no-admin",
      detail: "this edge has no admin token: the setting ADMIN_TOKEN_SHA256 is empty",
      remedy: "set it to the hex SHA-256 of a random token",
    });
  if (isAdmin(hash, c.env.ADMIN_TOKEN_SHA256)) return { kind: "admin" };
  return problem(c, attempts.take(c.get("from").client, Date.now()) ? unknownToken : tooManyAttempts);
}

const unknownToken: Finding = {
  status: 401,
  reason: "unknown-token",
  detail: "the token is not, or no longer, valid",
  field: "header.authorization",
  remedy: "ask the edge's admin for a new one",
};

/** Hashes of clusters' tokens that were accepted. Such a token is judged again each time, but never kept waiting. */
const accepted = new Set<string>();
const ACCEPTED_MAX = 10_000;

/** Undefined where it is no token of that cluster, or there is none. */
async function ofCluster(
  c: Context<ControlEnv>,
  name: string,
  token: string,
  hash: string,
): Promise<Principal | Response | undefined> {
  const { client } = c.get("from");
  const seen = accepted.has(hash);
  if (!seen && !attempts.take(client, Date.now())) return problem(c, tooManyAttempts);
  const verified = await (await clusterNamed(c.env, name))?.verify(token);
  if (!verified?.ok) {
    accepted.delete(hash);
    return undefined;
  }
  if (!seen) {
    attempts.giveBack(client);
    if (accepted.size < ACCEPTED_MAX) accepted.add(hash);
  }
  // An object that still runs the version before says no role: then it is the lesser one.
  const { cluster, tokenId, role = "agent" } = verified;
  return { kind: "cluster", cluster, tokenId, role };
}

function isAdmin(hash: Uint8Array<ArrayBuffer>, sha256: string): boolean {
  if (!/^[0-9a-f]{64}$/i.test(sha256)) throw new Error("ADMIN_TOKEN_SHA256 is not 64 hex digits");
  return crypto.subtle.timingSafeEqual(hash, Uint8Array.fromHex(sha256));
}
