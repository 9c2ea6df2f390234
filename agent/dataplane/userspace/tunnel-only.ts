// The executor of `--proxy none`: streams of the tunnel reach the endpoints of the plan, and no NodePort is opened.
import type { Executor } from "../executor.ts";
import type { Backends } from "../../endpoints/endpoints.ts";

export function tunnelOnlyExecutor(backends: Pick<Backends, "update">): Executor {
  return {
    apply: (plan) => {
      backends.update(plan);
      return Promise.resolve({ problems: [] });
    },
    clear: () => Promise.resolve(),
  };
}
