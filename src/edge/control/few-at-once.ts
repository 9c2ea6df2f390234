// Requests that read or write all of a cluster's state hold some tens of MB and the thread for tens of ms each: of one cluster
// few are carried out at once, so that its tokens cannot take memory and thread from the others. Counted for each isolate.
import type { MiddlewareHandler } from "hono";
import type { ControlEnv } from "./context.ts";
import { problem } from "./problem.ts";

const AT_ONCE = 6;

const running = new Map<string, number>();

/** After requires(): it counts by the cluster in the path, which exists. */
export const fewAtOnce: MiddlewareHandler<ControlEnv> = async (c, next) => {
  const { name } = c.get("cluster");
  const before = running.get(name) ?? 0;
  if (before >= AT_ONCE)
    return problem(c, {
      status: 429,
      reason: "too-many-requests",
      detail: `${AT_ONCE} requests about the whole state of cluster ${name} are being answered`,
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
