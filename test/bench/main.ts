// `npm run bench`: Postern beside bare workerd, in interleaved rounds; medians, ratios and CPU. README.md explains the sides.
// A benchmark, not a test: it asserts nothing.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { profile } from "./profile.ts";
import { ensureTools, type Stage, startStage } from "./stage.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: "bare,direct,tunnel" },
    case: { type: "string", default: "small,down,up" },
    mask: { type: "string", default: "auto" },
    /** Instead of measuring: profile this side under the first case. */
    profile: { type: "string" },
    /** Another checkout of this repository, with its packages installed: its sides are measured in the same rounds. */
    against: { type: "string" },
    /** Instead of measuring: small answers beside bulk ones on a link of so many megabits a second. */
    link: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

const cases = {
  small: { path: "/small", connections: 32, megabytes: 0, script: "" },
  down: { path: "/large", connections: 4, megabytes: 1, script: "" },
  up: {
    path: "/upload",
    connections: 4,
    megabytes: 1,
    script: `wrk.method = "POST"; wrk.body = string.rep("a", 1024 * 1024)`,
  },
} as const;
type Case = keyof typeof cases;
type Side = "bare" | "direct" | "tunnel";
/** A side of one checkout. */
interface Measured {
  readonly stage: Stage;
  readonly side: Side;
  readonly label: string;
}

interface Sample {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
  /** CPU µs a request. */
  readonly edge: number;
  readonly agent: number;
}

ensureTools();
const INSPECTOR = 9339;
const stage = await startStage({
  mask: values.mask === "random" ? "random" : "auto",
  ...(values.profile === undefined ? {} : { inspector: INSPECTOR }),
  ...(values.link === undefined ? {} : { link: Number(values.link) }),
});
const { against } = values;
const other: { startStage: typeof startStage } | undefined =
  against === undefined ? undefined : await import(join(resolve(against), "test/bench/stage.ts"));
const before = await other?.startStage({ mask: "auto" });
for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.on(signal, () => {
    stage.dispose();
    before?.dispose();
    process.exit(status);
  });
try {
  if (values.profile !== undefined) {
    const { host, path, connections } = {
      host: stage.hosts[values.profile as "tunnel"],
      ...cases[values.case.split(",")[0] as Case],
    };
    const load = spawn(
      "wrk",
      [
        "-t1",
        `-c${connections}`,
        `-d${seconds}s`,
        "-H",
        `Host: ${host}`,
        `http://127.0.0.1:${stage.ports.postern}${path}`,
      ],
      { stdio: "ignore" },
    );
    console.log(
      (await profile(INSPECTOR, () => new Promise((resolve) => load.once("exit", () => resolve())))).join("\n"),
    );
  } else if (values.link !== undefined) await measureBeside();
  else for (const name of values.case.split(",") as Case[]) measure(name);
} finally {
  stage.dispose();
  before?.dispose();
}

function measure(name: Case): void {
  const sides = values.only.split(",").flatMap((each): Measured[] => {
    const side = each as Side;
    const now: Measured = { stage, side, label: side };
    return before === undefined || side === "bare" ? [now] : [{ stage: before, side, label: `${side} before` }, now];
  });
  const samples = new Map<string, Sample[]>(sides.map(({ label }) => [label, []]));
  for (const each of sides) run(each.stage, each.side, name, 1);
  for (let round = 0; round < rounds; round++) {
    // The order turns: whoever comes later in a round has a warmer machine.
    const turned = round % 2 === 0 ? sides : sides.toReversed();
    for (const each of turned) samples.get(each.label)?.push(run(each.stage, each.side, name, seconds));
    console.error(`${name}: round ${round + 1} of ${rounds}`);
  }
  const bare = median((samples.get("bare") ?? []).map((sample) => sample.perSecond));
  const { megabytes, connections } = cases[name];
  const unit = megabytes > 0 ? "MiB/s" : "req/s";
  console.log(`\n${name} (${connections} connections, masks ${values.mask})`);
  for (const [side, all] of samples) {
    const of = (pick: (sample: Sample) => number): number => median(all.map(pick));
    const rate = of((sample) => sample.perSecond);
    const failed = all.reduce((sum, sample) => sum + sample.failed, 0);
    console.log(
      `  ${side.padEnd(before === undefined ? 7 : 13)} ${rate.toFixed(0).padStart(7)} ${unit}  ${(rate / bare).toFixed(2)} of bare  p50 ${of((s) => s.p50).toFixed(2)} p99 ${of((s) => s.p99).toFixed(1)} ms` +
        `  CPU µs ${megabytes > 0 ? "a MiB" : "a request"}: edge ${of((s) => s.edge).toFixed(0)} agent ${of((s) => s.agent).toFixed(0)}${failed > 0 ? `  ${failed} FAILED` : ""}`,
    );
  }
}

/** A small answer's latency through the tunnel, alone and beside two bulk downloads that fill the link. */
async function measureBeside(): Promise<void> {
  const wrk = (path: string, connections: number, duration: number): Promise<string> =>
    new Promise((resolve) => {
      const url = `http://127.0.0.1:${stage.ports.postern}${path}`;
      const args = ["-t1", `-c${connections}`, `-d${duration}s`, "--latency", "--timeout", "30s"];
      const load = spawn("wrk", [...args, "-H", `Host: ${stage.hosts.tunnel}`, url]);
      let out = "";
      load.stdout.on("data", (chunk: Buffer) => {
        out += chunk.toString();
      });
      load.once("exit", () => resolve(out));
    });
  const percentiles = (out: string): string => /50%.*[\s\S]*?99%.*/.exec(out)?.[0].replace(/\s+/g, " ") ?? out;
  console.log(`small answers on a link of ${values.link} Mbit/s`);
  console.log(`  alone            ${percentiles(await wrk("/small", 1, seconds))}`);
  const bulk = wrk("/large", 2, seconds + 4);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  console.log(`  beside 2 bulk    ${percentiles(await wrk("/small", 1, seconds))}`);
  console.log(`  bulk             ${/Transfer.*/.exec(await bulk)?.[0]}`);
}

function run({ ports, hosts, pids }: Stage, side: Side, name: Case, duration: number): Sample {
  const { path, connections, script } = cases[name];
  const port = side === "bare" ? ports.bare : ports.postern;
  const edgePid = side === "bare" ? pids.bare : pids.postern;
  const lua = join(tmpdir(), `postern-bench-${process.pid}.lua`);
  writeFileSync(
    lua,
    `${script}
     done = function(summary, latency)
       local errors = summary.errors
       print(string.format("RESULT %d %d %f %f %d", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
         errors.connect + errors.read + errors.write + errors.status + errors.timeout))
     end`,
  );
  const host = side === "bare" ? [] : ["-H", `Host: ${hosts[side]}`];
  const before = [cpu(edgePid), cpu(pids.agent)] as const;
  const out = spawnSync(
    "wrk",
    ["-t1", `-c${connections}`, `-d${duration}s`, "-s", lua, ...host, `http://127.0.0.1:${port}${path}`],
    { encoding: "utf8" },
  ).stdout;
  const after = [cpu(edgePid), cpu(pids.agent)] as const;
  const [requests, micros, p50, p99, failed] = (/RESULT (.*)/.exec(out)?.[1] ?? "0 1 0 0 0").split(" ").map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    perSecond: requests / (micros / 1e6),
    p50: p50 / 1000,
    p99: p99 / 1000,
    failed,
    edge: (after[0] - before[0]) / requests,
    agent: side === "tunnel" ? (after[1] - before[1]) / requests : 0,
  };
}

/** User and system time of a process, µs. */
function cpu(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
