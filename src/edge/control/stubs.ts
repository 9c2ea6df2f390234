// How the API reaches the objects. Each request makes its own stubs: the platform throws where one request uses another's.
// Calling an object creates it, with a file on the disk that nothing removes. So a ClusterObject may be called only where the
// admin has created that cluster, and never because a request names it.
import type { Env } from "../env.ts";
import { GATEWAY_NAME } from "../rpc/names.ts";

export const gatewayOf = (env: Env): ReturnType<Env["GATEWAY"]["get"]> => env.GATEWAY.getByName(GATEWAY_NAME);

/** Of a cluster that is known to exist. */
export const clusterOf = (env: Env, name: string): ReturnType<Env["CLUSTER"]["get"]> => env.CLUSTER.getByName(name);

/** Names that clusters have, or had before they were deleted. Their objects exist, so calling them creates nothing. */
const known = new Set<string>();
const KNOWN_MAX = 10_000;

/** The object of a cluster that an unauthenticated request names; undefined where there is no such cluster. */
export async function clusterNamed(env: Env, name: string): Promise<ReturnType<Env["CLUSTER"]["get"]> | undefined> {
  if (!known.has(name)) {
    if ((await gatewayOf(env).getCluster(name)) === undefined) return undefined;
    if (known.size < KNOWN_MAX) known.add(name);
  }
  return clusterOf(env, name);
}
