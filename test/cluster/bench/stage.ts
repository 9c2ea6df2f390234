// What one measurement stands on: three namespaces, the stand-in for the API server with so many Services, the endpoints, the
// client, a ticker on each processor. A new one for each measurement, so that none begins with what another has left.
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { run, succeeds } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import { Helper, helperIn } from "./helpers.ts";
import { client, endpointRanges, endpoints, node, podRange, serviceRange } from "./places.ts";
import { readBusy } from "./processes.ts";

/** Everybody is waited for until no more than this share of the processors is busy; for so long at most. */
const QUIET = { share: 0.1, everyMs: 500, limitMs: 15_000 };

/** For what the kernel does on behalf of a program, and nobody can break off: rules of many thousand Services. */
const KERNEL_LIMIT_MS = 1_800_000;

export class Stage {
  readonly client: Helper;
  readonly api: Helper;
  readonly #endpoint: Helper;
  readonly #tickers: readonly Helper[];

  private constructor(made: { client: Helper; api: Helper; endpoint: Helper; tickers: readonly Helper[] }) {
    this.client = made.client;
    this.api = made.api;
    this.#endpoint = made.endpoint;
    this.#tickers = made.tickers;
  }

  static async make(services: number): Promise<Stage> {
    await makeNetwork();
    const tickers = Array.from({ length: availableParallelism() }, (_, processor) =>
      Helper.start("ticker.ts", [], ["taskset", "--cpu-list", String(processor)]),
    );
    return new Stage({
      client: await helperIn(client.netns, "client.ts"),
      api: await helperIn(endpoints.netns, "stand-in/main.ts", [String(services)]),
      endpoint: await helperIn(endpoints.netns, "endpoint.ts"),
      tickers: await Promise.all(tickers),
    });
  }

  /** Since it was asked last, on any processor; ms. */
  async longestStallMs(): Promise<number> {
    const answers = await Promise.all(this.#tickers.map((ticker) => ticker.ask({ do: "longest" })));
    return Math.max(...answers.map(({ ms }) => ms));
  }

  async end(): Promise<void> {
    await endAllIn(node.netns);
    await Promise.all([this.client, this.api, this.#endpoint, ...this.#tickers].map((helper) => helper.end()));
    // Before the namespace goes: the kernel would take them away in the background, while the next one is measured.
    await succeeds([...inside(node.netns), "nft", "flush", "ruleset"], { timeout: KERNEL_LIMIT_MS });
    for (const { netns } of [client, node, endpoints]) await run(["ip", "netns", "del", netns]);
  }
}

/** A tool of a program that was killed goes on without it, and would be in the way of the next measurement. */
async function endAllIn(netns: string): Promise<void> {
  const until = performance.now() + KERNEL_LIMIT_MS;
  while (performance.now() < until) {
    const pids = (await run(["ip", "netns", "pids", netns])).split("\n").filter(Boolean).map(Number);
    if (pids.length === 0) return;
    for (const pid of pids) endNow(pid);
    // One that is in the kernel ends when it comes out of there.
    await pause(100);
  }
  throw new Error(`something in the namespace ${netns} does not end`);
}

function endNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended in this instant.
  }
}

/** False: the machine did not become quiet. */
export async function untilQuiet(): Promise<boolean> {
  const until = performance.now() + QUIET.limitMs;
  let before = readBusy();
  while (performance.now() < until) {
    await pause(QUIET.everyMs);
    const after = readBusy();
    if ((after.busy - before.busy) / (after.all - before.all) <= QUIET.share) return true;
    before = after;
  }
  return false;
}

async function makeNetwork(): Promise<void> {
  for (const { netns } of [client, node, endpoints]) {
    await run(["ip", "netns", "add", netns]);
    await ip(netns, ["link set lo up"]);
  }
  await ip(node.netns, [
    `link add pod type veth peer name eth0 netns ${client.netns}`,
    `link add eth0 type veth peer name eth0 netns ${endpoints.netns}`,
    `addr add ${client.gateway}/24 dev pod`,
    `addr add ${node.address}/24 dev eth0`,
    "link set pod up",
    "link set eth0 up",
    ...endpointRanges.map((range) => `route add ${range} via ${endpoints.address}`),
    // What no rule catches is answered at once, and not lost.
    `route add unreachable ${serviceRange}`,
  ]);
  // One ICMP error a second is what a kernel gives a peer: the client would take the others for lost.
  await run([...inside(node.netns), "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"]);
  await ip(client.netns, [
    `addr add ${client.address}/24 dev eth0`,
    "link set eth0 up",
    `route add default via ${client.gateway}`,
  ]);
  await ip(endpoints.netns, [
    `addr add ${endpoints.address}/24 dev eth0`,
    "link set eth0 up",
    `route add ${podRange} via ${node.address}`,
    ...endpointRanges.map((range) => `route add local ${range} dev lo`),
  ]);
}

async function ip(netns: string, lines: readonly string[]): Promise<void> {
  await run([...inside(netns), "ip", "-batch", "-"], { input: lines.join("\n") });
}
