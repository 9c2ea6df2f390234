// Requests that read or write all of a cluster's state hold some tens of MB and the thread for tens of ms each: of one cluster
// few are carried out at once, so that its tokens cannot take memory and thread from the others. Probes, which wait for nodes,
// are counted by themselves, so that they keep no agent from publishing. Counted for each isolate.
import type { MiddlewareHandler } from "hono";
import type { ControlEnv } from "./context.ts";
import { problem } from "./problem.ts";

/** After requires(): it counts by the cluster in the path, which exists. */
function atMost(most: number, what: string): MiddlewareHandler<ControlEnv> {
  const running = new Map<string, number>();
  return async (c, next) => {
    const { name } = c.get("cluster");
    const before = running.get(name) ?? 0;
    if (before >= most)
      return problem(c, {
        status: 429,
        reason: "too-many-requests",
        detail: `${most} ${what} of cluster ${name} are being answered`,
        remedy: "try again in a few seconds",
      });
    running.set(name, before + 1);
    try {
      return await next();
    } finally {
      const after = (running.get(name) ?? 1) - 1;
      if (after > 0) running.set(name, after);
      else running.delete(name);
    }
  };
}

export const fewAtOnce = atMost(6, "requests about the whole state");
export const fewProbes = atMost(4, "probes");
