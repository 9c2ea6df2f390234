// Which rules kube-proxy writes when it is fed by a real API server, and which when it is fed by the benchmark's stand-in, with the
// same objects. A program, run in namespaces of its own (stand-in.test.ts): `rules.ts KUBE-PROXY`. Prints one line of JSON.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { clusterIp, endpointAddress, serviceRange, spareAddress } from "../../bench/places.ts";
import { configuration, kubeconfigFor, type Mode, modes } from "../../bench/programs.ts";
import { clusterOf, endpointsOf, type KubeObject, NAMESPACE, nodeCount, slice } from "../../bench/stand-in/objects.ts";
import { StandIn } from "../../bench/stand-in/server.ts";
import { Store } from "../../bench/stand-in/store.ts";
import { ApiServer } from "../../harness/api-server.ts";
import { run } from "../../harness/command.ts";
import { endWithParent, FOLDER } from "../../proxy/isolation.ts";

/** More than one node, so that some endpoints are this node's and some are not. */
const SERVICES = 30;
const LIMIT_MS = 60_000;

endWithParent();
const kubeProxy = process.argv[2] ?? "";
const folder = `${FOLDER}/rules`;
mkdirSync(folder);

/** After the first sync, and after an endpoint has moved. */
type Rules = readonly [first: readonly string[], moved: readonly string[]];

const real = new ApiServer({ serviceRanges: [serviceRange] });
const unknown: string[] = [];
const result: Record<string, { real: Rules; standIn: Record<string, { rules: Rules; lists: number }> }> = {};
const objects = [...clusterOf(SERVICES)];
const addressesAfter = endpointsOf(3).with(4, spareAddress(0));
const movedSlice = slice(3, nodeCount(SERVICES), addressesAfter);
const unmovedSlice = slice(3, nodeCount(SERVICES), endpointsOf(3));

await run(["ip", "link", "set", "lo", "up"]);
await real.start();
await real.create({ kind: "Namespace", metadata: { name: NAMESPACE } });
// The API server has one of its own.
for (const object of objects) if (object.kind !== "ServiceCIDR") await real.create(object);
const own = (await real.ask("GET", "/api/v1/namespaces/default/services/kubernetes")) as KubeObject;
for (const mode of modes) {
  const ofReal = await rulesOf(mode, { kubeconfig: real.kubeconfig("kube-proxy") }, () => apply(movedSlice));
  await apply(unmovedSlice);
  const standIn: Record<string, { rules: Rules; lists: number }> = {};
  // What kube-proxy asks by itself, and what the agent asks.
  for (const [way, contentType, watchList] of [
    ["protobuf, watch with initial events", undefined, true],
    ["protobuf, lists", undefined, false],
    ["JSON, watch with initial events", "application/json", true],
    ["JSON, lists", "application/json", false],
  ] as const) {
    const { managedFields: _, ...metadata } = own.metadata as KubeObject["metadata"] & { managedFields?: unknown };
    const store = new Store();
    for (const object of [...objects, { ...own, apiVersion: "v1", kind: "Service", metadata }]) store.put(object);
    store.completed();
    const server = new StandIn({ store, onUnknown: (request) => unknown.push(request) });
    const port = await server.listen(0, "127.0.0.1");
    const kubeconfig = `${folder}/stand-in.kubeconfig`;
    writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(`http://127.0.0.1:${port}`)));
    const rules = await rulesOf(mode, { kubeconfig, contentType, watchList }, () => store.put(movedSlice));
    standIn[way] = { rules, lists: server.lists };
    await server.close();
  }
  result[mode] = { real: ofReal, standIn };
}
await real.stop();
// A pipe takes it in pieces, and exit() would not wait for the rest.
process.stdout.write(`${JSON.stringify({ unknown, result })}\n`, () => process.exit(0));

/** The real one has given it an id of its own. */
async function apply({ metadata: { uid: _uid, ...metadata }, ...object }: KubeObject): Promise<void> {
  await real.apply({ ...object, metadata });
}

interface Feed {
  readonly kubeconfig: string;
  readonly contentType?: string | undefined;
  readonly watchList?: boolean;
}

async function rulesOf(mode: Mode, feed: Feed, move: () => unknown): Promise<Rules> {
  const { kubeconfig, contentType, watchList = true } = feed;
  const config = {
    ...configuration(mode, kubeconfig),
    clientConnection: { kubeconfig, ...(contentType && { contentType }) },
    featureGates: { WatchListClient: watchList },
  };
  writeFileSync(`${folder}/config.json`, JSON.stringify(config));
  const log = openSync(`${folder}/kube-proxy.log`, "a");
  const program = spawn(kubeProxy, ["--config", `${folder}/config.json`], {
    stdio: ["ignore", log, log],
  });
  try {
    const first = await rulesWith(mode, [clusterIp(SERVICES - 1), endpointAddress(SERVICES * 10 - 1)], program);
    await move();
    return [first, await rulesWith(mode, [spareAddress(0)], program)];
  } finally {
    const ended = once(program, "exit");
    program.kill("SIGKILL");
    await ended;
    await run(["nft", "flush", "ruleset"]);
  }
}

/** Once all of these addresses are in them. */
async function rulesWith(mode: Mode, addresses: readonly string[], program: ChildProcess): Promise<string[]> {
  for (const began = performance.now(); performance.now() - began < LIMIT_MS; await pause(100)) {
    if (program.exitCode !== null) break;
    // IPv4's alone: IPv6's is written at a time of its own. Nothing: it is not there yet.
    const list = mode === "nftables" ? ["nft", "list", "table", "ip", "kube-proxy"] : ["iptables-save"];
    const text = await run(list).catch(() => "");
    const tokens = text.split(/[\s,/]+/);
    if (addresses.every((address) => tokens.includes(address))) return normal(text);
  }
  throw new Error(`${mode}: rules with ${addresses.join(" and ")} did not come; see ${folder}/kube-proxy.log`);
}

/** Neither order of elements nor counters: one line for each rule and each element. */
function normal(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .flatMap((line) => line.replace(/\[\d+:\d+\]/, "").split(/[{},]/))
    .map((part) => part.replaceAll(/\s+/g, " ").trim())
    .filter((part) => part !== "")
    .sort();
}
