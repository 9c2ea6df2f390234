// Brings the cluster up before the tests, and takes it down behind them unless it was there before: a developer's stays.
import { existsSync } from "node:fs";
import { bringUp } from "./cluster.ts";
import { work } from "./places.ts";
import { stopCluster } from "./stop.ts";

export default async function setup(): Promise<() => Promise<void>> {
  const wasThere = existsSync(work);
  await bringUp((line) => console.error(`cluster: ${line}`));
  return async () => {
    if (!wasThere) await stopCluster();
  };
}
