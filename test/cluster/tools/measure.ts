// `npm run cluster:measure [-- ROUNDS]`: how soon traffic follows the pods. Rollouts under load, by both transports; from
// the watch event "Ready" of a pod to its first request, and from the event of its deletion to its last one. And what is
// lost: by GET and POST to pods that finish what they accepted, and to pods that exit at once (which nobody can save whole).
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { z } from "zod";
import { bringUp } from "../harness/cluster.ts";
import { hostOf } from "./exposed.ts";
import { type LoadReport, served, underLoad } from "./load.ts";
import { kubectl } from "../harness/places.ts";
import { TestNamespace, webService } from "./web.ts";

const RATE = 200;
const rounds = Number(process.argv[2] ?? 3);
const cases = [
  { transport: "tunnel", method: "GET", abrupt: false },
  { transport: "direct", method: "GET", abrupt: false },
  { transport: "tunnel", method: "POST", abrupt: false },
  { transport: "direct", method: "POST", abrupt: false },
  { transport: "tunnel", method: "GET", abrupt: true },
  { transport: "direct", method: "GET", abrupt: true },
] as const;

const podSchema = z.object({
  metadata: z.object({ name: z.string(), deletionTimestamp: z.string().optional() }),
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]) }),
});
interface Seen {
  ready?: number;
  deleted?: number;
}

/** When the API server told of it; epoch ms, by pod. */
function watchPods(namespace: string) {
  const seen = new Map<string, Seen>();
  const path = `/api/v1/namespaces/${namespace}/pods?watch=1`;
  const watch = spawn(kubectl, ["get", "--raw", path], { stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: watch.stdout }).on("line", (line) => {
    const { metadata, status } = podSchema.parse((JSON.parse(line) as { object: unknown }).object);
    const pod = seen.get(metadata.name) ?? {};
    seen.set(metadata.name, pod);
    const ready = status.conditions.some((each) => each.type === "Ready" && each.status === "True");
    if (ready) pod.ready ??= Date.now();
    if (metadata.deletionTimestamp !== undefined) pod.deleted ??= Date.now();
  });
  return { seen, stop: () => watch.kill() };
}

const percentile = (sorted: readonly number[], share: number): string =>
  sorted.length === 0 ? "-" : String(Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0));
const both = (values: readonly number[]): string => {
  const sorted = values.toSorted((a, b) => a - b);
  return `${percentile(sorted, 0.5)} / ${percentile(sorted, 0.99)} (${sorted.length})`;
};

await bringUp((line) => console.error(`cluster: ${line}`));
const test = await TestNamespace.create();
try {
  console.log(
    "| case | failed | ms from Ready to first request, p50 / p99 | ms from deletion to last request, p50 / p99 |",
  );
  console.log("|---|---|---|---|");
  let version = 0;
  for (const { transport, method, abrupt } of cases) {
    await test.deployWeb({ replicas: 3, abrupt, version: String(++version) });
    await test.apply({
      ...webService("web", { type: "LoadBalancer", ports: [{ port: 80, targetPort: 8080 }] }),
      metadata: { name: "web", annotations: { "postern.dev/transport": transport } },
    });
    const host = hostOf(test, "web");
    await served(host);
    const watch = watchPods(test.name);
    let begun = 0;
    const report: LoadReport = await underLoad({ host, rate: RATE, method }, async () => {
      begun = Date.now();
      for (let round = 0; round < rounds; round++) {
        await test.deployWeb({ replicas: 3, abrupt, version: String(++version) });
        await test.kubectl("wait", "--for=delete", "pod", "-l", `app=web,version=${version - 1}`, "--timeout=60s");
      }
    });
    watch.stop();
    const first: number[] = [];
    const last: number[] = [];
    for (const [name, { ready, deleted }] of watch.seen) {
      const served = report.servers[name];
      if (served === undefined) continue;
      // Those that were Ready before have no first request of this kind.
      if (ready !== undefined && ready > begun) first.push(served.first - ready);
      if (deleted !== undefined) last.push(served.last - deleted);
    }
    const what = `${transport}, ${method}, pods that ${abrupt ? "exit at once" : "finish"}`;
    console.log(`| ${what} | ${report.failed} of ${report.total} | ${both(first)} | ${both(last)} |`);
    for (const { ms, what: why } of report.failures.slice(0, 3))
      console.log(`|   e.g. after ${ms} ms: ${why.slice(0, 120)} | | | |`);
  }
} finally {
  await test[Symbol.asyncDispose]();
}
