// `npm run cluster:up -- [--bare] [--proxy …] [--json]` and `npm run cluster:down`. Owns the words on the terminal: progress goes to
// standard error, the answer to standard output.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { bringUp } from "./cluster.ts";
import { importImage } from "./node.ts";
import { nodes, proxies, type Proxy, work } from "./places.ts";
import { stopCluster } from "./stop.ts";

const usage = `usage: npm run cluster:up -- [--bare] [--proxy ${proxies.join("|")}] [--refuse answer|reset] [--json]
       # --proxy: what forwards to Services; others are the agent in kube-proxy's place by that mode; ipvs with nodes in virtual machines
       # --bare: Kubernetes alone, without edge and (unless it is the proxy) agent; --refuse: how the edge does (npm run edge -- --help)
       npm run cluster:down
       npm run cluster:load -- ARCHIVE    # an OCI archive, into every node`;

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      bare: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      refuse: { type: "string", default: "answer" },
      proxy: { type: "string" },
    },
  });
  process.exitCode = await main(positionals, values);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function main(
  words: readonly string[],
  { bare, json, refuse, proxy }: { bare: boolean; json: boolean; refuse: string; proxy?: string | undefined },
): Promise<number> {
  if (words.length === 1 && words[0] === "down") {
    console.error((await stopCluster()) ? "cluster:down: nothing of it is left" : "cluster:down: there was no cluster");
    return 0;
  }
  const [word, archive] = words;
  if (words.length === 2 && word === "load" && archive !== undefined) {
    if (!existsSync(work)) throw new Error("there is no cluster: npm run cluster:up");
    if (!existsSync(nodes[0]?.containerd ?? ""))
      throw new Error("its nodes are virtual machines, which take no image later");
    await Promise.all(nodes.map((node) => importImage(node, archive)));
    return 0;
  }
  const isProxy = (name: string | undefined): name is Proxy | undefined =>
    name === undefined || proxies.some((each) => each === name);
  if (words.length !== 1 || word !== "up" || (refuse !== "answer" && refuse !== "reset") || !isProxy(proxy)) {
    console.error(usage);
    return 2;
  }
  const started = Date.now();
  const seconds = (): string => ((Date.now() - started) / 1000).toFixed(1);
  const cluster = await bringUp((line) => console.error(`cluster:up: ${line}`), {
    ...{ bare, refuse },
    ...(proxy === undefined ? {} : { proxy }),
  });
  const agents = bare && cluster.proxy === "kube-proxy" ? "" : "and their agents ";
  console.error(`cluster:up: three nodes ${agents}are Ready after ${seconds()} s`);
  if (json) {
    console.log(JSON.stringify(cluster));
    return 0;
  }
  console.log(`export KUBECONFIG=${cluster.kubeconfig}`);
  console.log(`alias kubectl=${cluster.kubectl}`);
  console.log(`# Services are forwarded to by ${forwarder(cluster.proxy)}`);
  const { edge } = cluster;
  if (edge) console.log(`# Services get names below ${edge.domain}, which leads to the edge at ${edge.address}`);
  console.log(`# Other programs reach the cluster from inside its namespace: ${cluster.exec.join(" ")} PROGRAM …`);
  return 0;
}

function forwarder(proxy: Proxy): string {
  return proxy === "kube-proxy" ? proxy : `the agent, mode ${proxy}`;
}
