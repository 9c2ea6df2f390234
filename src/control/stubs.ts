// How the API reaches the objects. Stubs are made for each request: one that is kept for another throws.
import type { Env } from "../env.ts";

export const gatewayOf = (env: Env): ReturnType<Env["GATEWAY"]["get"]> =>
  env.GATEWAY.get(env.GATEWAY.idFromName("gateway"));

export const clusterOf = (env: Env, name: string): ReturnType<Env["CLUSTER"]["get"]> =>
  env.CLUSTER.get(env.CLUSTER.idFromName(name));
