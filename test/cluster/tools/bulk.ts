// What tests at scale need: many writes at once, what the API server has counted, what the agents weigh.
import { readFileSync } from "node:fs";
import { agentPids } from "./agents.ts";
import { run } from "../harness/command.ts";
import { control, inside, kubeconfig, kubectl, nodes } from "../harness/places.ts";

export interface BulkCall {
  readonly method: "POST" | "PATCH";
  readonly path: string;
  readonly body: object;
}

const program = new URL("bulk-client.ts", import.meta.url).pathname;

/** A busy machine needs minutes for what takes half a minute else. */
const BULK_MS = 600_000;

/** Milliseconds that they took. */
export async function bulk(calls: readonly BulkCall[]): Promise<number> {
  const command = [...inside(control.netns), process.execPath, program, kubeconfig("admin")];
  return Number(await run(command, { input: JSON.stringify(calls), timeout: BULK_MS }));
}

/** Requests that were answered so far, by "PATCH services/status". */
export async function requestCounts(): Promise<Map<string, number>> {
  const metrics = await run([kubectl, "get", "--raw", "/metrics"]);
  const counts = new Map<string, number>();
  // apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="services",…,subresource="status",verb="PATCH",version="v1"} 7
  for (const [, labels = "", count] of metrics.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
    const subresource = label("subresource");
    const key = `${label("verb")} ${label("resource")}${subresource === "" ? "" : `/${subresource}`}`;
    counts.set(key, (counts.get(key) ?? 0) + Number(count));
  }
  return counts;
}

/** Resident memory of each agent in MiB, in the nodes' order. */
export async function agentsMemory(): Promise<number[]> {
  const memory: number[] = [];
  for (const node of nodes) {
    for (const pid of await agentPids(node)) {
      const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
      memory.push(Math.round(Number(kib) / 1024));
    }
  }
  return memory;
}
