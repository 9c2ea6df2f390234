// How the API reaches the objects. Stubs are made for each request: one that is kept for another throws.
// An object that is called exists from then on, with a file on the disk that nothing takes away: a ClusterObject may be
// called only where the admin has made that cluster, never because a request names it.
import type { Env } from "../env.ts";
import { GATEWAY_NAME } from "../rpc/names.ts";

export const gatewayOf = (env: Env): ReturnType<Env["GATEWAY"]["get"]> => env.GATEWAY.getByName(GATEWAY_NAME);

/** Of a cluster that is known to exist. */
export const clusterOf = (env: Env, name: string): ReturnType<Env["CLUSTER"]["get"]> => env.CLUSTER.getByName(name);

/** Names that were clusters' once. Their objects exist, so that asking them again makes nothing, though they be deleted. */
const known = new Set<string>();
const KNOWN_MAX = 10_000;

/** Of the cluster that a stranger names; undefined where there is none. */
export async function clusterNamed(env: Env, name: string): Promise<ReturnType<Env["CLUSTER"]["get"]> | undefined> {
  if (!known.has(name)) {
    if ((await gatewayOf(env).getCluster(name)) === undefined) return undefined;
    if (known.size < KNOWN_MAX) known.add(name);
  }
  return clusterOf(env, name);
}
