// What a handler of the API finds in its context: the bindings, and what was found out about the request before it ran.
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Env } from "../env.ts";
import type { Forwarded } from "../http/forwarded.ts";
import type { ClusterRecord, TokenRole } from "../../shared/control/answers.ts";

/** Who asks. */
export type Principal =
  | { readonly kind: "admin" }
  | { readonly kind: "cluster"; readonly cluster: ClusterRecord; readonly tokenId: string; readonly role: TokenRole };

export interface ControlEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    /** The door that the request came in by. */
    from: Forwarded;
    /** Set by requires(). */
    principal: Principal;
    /** Set by requires("cluster") and requires("owner"): the cluster in the path, which exists. */
    cluster: ClusterRecord;
  };
}
export type Api = OpenAPIHono<ControlEnv>;
