// Builds what tests run, and brings the cluster up, before the tests: here nothing ends what takes minutes. Takes the cluster down
// behind them unless it was there before: a developer's stays.
import { existsSync } from "node:fs";
import type { TestProject } from "vitest/node";
import { ensureNewestProxy } from "./harness/binaries.ts";
import { bringUp } from "./harness/cluster.ts";
import { work } from "./harness/places.ts";
import { stopCluster } from "./harness/stop.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** True: the tests may do with the cluster what they like. False: somebody was using it already. */
    ownCluster: boolean;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const ownCluster = !existsSync(work);
  project.provide("ownCluster", ownCluster);
  const say = (line: string): void => console.error(`cluster: ${line}`);
  await ensureNewestProxy(say);
  await bringUp(say);
  return async () => {
    if (ownCluster) await stopCluster();
  };
}
