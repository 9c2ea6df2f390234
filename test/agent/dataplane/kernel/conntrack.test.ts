// Which UDP entries are removed, on data; and with the system's own conntrack in a network namespace of its own.
// Addresses: 10.96.0.10 ClusterIP, 192.168.1.10 the node, 10.1.0.x pods.
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import {
  changedFamilies,
  cleanFlows,
  type Flow,
  parseFlows,
  staleFlows,
  udpPorts,
} from "../../../../agent/dataplane/kernel/conntrack.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import type { KernelPort } from "../../../../agent/plan/plan.ts";
import { dnsPort, planOf, planService } from "../kernel-plans.ts";

const node = ["192.168.1.10", "fd00::10"];
const flow = (asked: string, answers: string): Flow => {
  const [address = "", port] = asked.split(" ");
  const [answeredBy = "", answeredPort] = answers.split(" ");
  return { address, port: Number(port), answeredBy, answeredPort: Number(answeredPort) };
};
const dns = (serving: readonly string[], parts: Partial<KernelPort> = {}) => dnsPort({ serving, ...parts });
const [one, two] = ["10.1.0.1 53", "10.1.0.2 53"];

describe("parsing", () => {
  it("reads whom the client asked and who answers, and skips what it does not understand", () => {
    const text = [
      "udp      17 59 src=10.0.0.2 dst=10.96.0.10 sport=5353 dport=53 [UNREPLIED] src=10.1.0.1 dst=10.0.0.2 sport=5300 dport=5353 mark=0 use=1",
      "udp      17 59 src=fd00::2 dst=fd00:0:0::a sport=5353 dport=53 src=fd00:1::5 dst=fd00::2 sport=53 dport=5353 [ASSURED] mark=0 zone=1 use=1",
      "udp      17 59 src=10.0.0.2 dst=10.96.0.10 sport=5353",
      "conntrack v1.4.7",
      "",
    ].join("\n");
    expect(parseFlows(text)).toEqual([flow("10.96.0.10 53", "10.1.0.1 5300"), flow("fd00::a 53", "fd00:1::5 53")]);
    expect(parseFlows(text, new Set([54]))).toEqual([]);
    expect(parseFlows(text, new Set([53]))).toHaveLength(2);
  });
});

describe("an entry goes", () => {
  const rows: readonly [string, Flow, readonly KernelPort[], readonly KernelPort[], boolean][] = [
    ["not: its endpoint serves", flow("10.96.0.10 53", one), [], [dns([one])], false],
    ["its endpoint does not serve any more", flow("10.96.0.10 53", two), [dns([one, two])], [dns([one])], true],
    ["no endpoint is left", flow("10.96.0.10 53", one), [dns([one])], [dns([])], true],
    ["its endpoint serves at another port", flow("10.96.0.10 53", "10.1.0.1 5353"), [], [dns([one])], true],
    ["it was never translated", flow("10.96.0.10 53", "10.96.0.10 53"), [], [dns([one])], true],
    ["not: another port of the address", flow("10.96.0.10 54", two), [dns([two])], [dns([one])], false],
    ["the Service is gone", flow("10.96.0.10 53", one), [dns([one])], [], true],
    ["not: nobody ever had that address", flow("8.8.8.8 53", "8.8.8.8 53"), [dns([one])], [dns([two])], false],
    ["of an external address", flow("203.0.113.1 53", two), [], [dns([one], { externalIPs: ["203.0.113.1"] })], true],
    ["of a balancer's", flow("203.0.113.2 53", two), [], [dns([one], { loadBalancerIPs: ["203.0.113.2"] })], true],
    ["of a NodePort", flow("192.168.1.10 30053", two), [], [dns([one], { nodePort: 30053 })], true],
    ["of a NodePort, no endpoint", flow("192.168.1.10 30053", two), [], [dns([], { nodePort: 30053 })], true],
    [
      "of a NodePort that is gone",
      flow("192.168.1.10 30053", one),
      [dns([one], { nodePort: 30053 })],
      [dns([one])],
      true,
    ],
    [
      "not: of the node itself, at a port that was a NodePort",
      flow("192.168.1.10 30053", "192.168.1.10 30053"),
      [dns([one], { nodePort: 30053 })],
      [dns([one])],
      false,
    ],
    [
      "not: of the node itself, at a NodePort without endpoints",
      flow("192.168.1.10 30053", "192.168.1.10 30053"),
      [],
      [dns([], { nodePort: 30053 })],
      false,
    ],
    [
      "not: a foreign host's port",
      flow("8.8.8.8 30053", "8.8.8.8 30053"),
      [],
      [dns([one], { nodePort: 30053 })],
      false,
    ],
    [
      "of IPv6",
      flow("fd00::10 30053", "fd00:1::2 53"),
      [],
      [dns(["fd00:1::1 53"], { family: "IPv6", clusterIP: "fd00:96::a", nodePort: 30053 })],
      true,
    ],
  ];
  it.each(rows)("%s", (_what, entry, before, now, goes) => {
    const { ports, has } = staleFlows(before, now, node);
    expect(ports.has(entry.port) && has(entry)).toBe(goes);
  });
});

describe("when entries are listed", () => {
  it.each<[string, readonly KernelPort[], readonly KernelPort[], readonly string[]]>([
    [
      "not for equal ports in another order",
      [dns([one, two]), dns([], { port: 54 })],
      [dns([], { port: 54 }), dns([two, one])],
      [],
    ],
    ["not for another policy", [dns([one])], [dns([one], { internalPolicy: "Local" })], []],
    ["for another endpoint", [dns([one])], [dns([two])], ["IPv4"]],
    ["for another frontend", [dns([one])], [dns([one], { externalIPs: ["203.0.113.1"] })], ["IPv4"]],
    [
      "for a Service that went",
      [dns([one]), dns([one], { family: "IPv6", clusterIP: "fd00::a" })],
      [dns([one])],
      ["IPv6"],
    ],
  ])("%s", (_what, before, now, families) => {
    expect(changedFamilies(before, now)).toEqual(families);
  });

  it("finds UDP ports alone", () => {
    const ports = [dnsPort(), dnsPort({ protocol: "TCP" })];
    expect(udpPorts(planOf([planService("default/dns", ports)]))).toEqual([ports[0]]);
  });

  it("says what is wrong, and works with the part that it got", async () => {
    const calls: string[] = [];
    const half = "udp 17 9 src=10.0.0.2 dst=10.96.0.10 sport=1 dport=53 src=10.1.0.2 dst=10.0.0.2 sport=53 dport=1\n";
    const run: Run = async (_program, args) => {
      calls.push(args[0] ?? "");
      return args[0] === "-L"
        ? { code: 1, stdout: half, stderr: "interrupted\n" }
        : { code: 0, stdout: half, stderr: "" };
    };
    expect(await cleanFlows(run, ["IPv4"], [], [dns([one])], node)).toEqual([
      { family: "IPv4", deleted: 1, problem: "interrupted" },
    ]);
    expect(calls).toEqual(["-L", "-D"]);
  });
});

it("lets others have their turn while it looks at a long list, all of which counts, and removes what is alike once", async () => {
  const entry = (client: number, asked: string, port: number, by: string) =>
    `udp 17 9 src=10.0.0.2 dst=${asked} sport=${client} dport=${port} src=${by} dst=10.0.0.2 sport=53 dport=${client}\n`;
  const gone = ["10.2.0.1", "10.2.0.2"];
  const listed = [
    entry(1, "10.96.0.10", 53, gone[0] ?? ""),
    ...Array.from({ length: 40_000 }, (_, n) => entry(n, n % 2 === 0 ? "10.96.0.10" : "8.8.8.8", 53, "10.1.0.1")),
    entry(1, "10.96.0.10", 53, gone[1] ?? ""),
    entry(2, "10.96.0.10", 53, gone[1] ?? "").trimEnd(),
  ].join("");
  let turns = 0;
  let others: NodeJS.Immediate | undefined;
  const count = () => {
    turns++;
    others = setImmediate(count);
  };
  const removed: string[] = [];
  const run: Run = async (_program, args) => {
    if (args[0] === "-L") {
      others = setImmediate(count);
      return { code: 0, stdout: listed, stderr: "" };
    }
    clearImmediate(others);
    removed.push(String(args[args.indexOf("--reply-src") + 1]));
    return { code: 0, stdout: "", stderr: "" };
  };
  await cleanFlows(run, ["IPv4"], [], [dns([one])], node);
  expect(removed).toEqual(gone);
  expect(turns).toBeGreaterThan(10);
});

it("removes flows of hundreds of endpoints by a few processes at once", async () => {
  const entries = Array.from(
    { length: 200 },
    (_, n) => `udp 17 9 src=10.0.0.2 dst=10.96.0.10 sport=1 dport=53 src=10.2.0.${n} dst=10.0.0.2 sport=53 dport=1\n`,
  );
  const removed = new Set<string>();
  let [running, most] = [0, 0];
  const run: Run = async (_program, args) => {
    if (args[0] === "-L") return { code: 0, stdout: entries.join(""), stderr: "" };
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    const from = String(args[args.indexOf("--reply-src") + 1]);
    removed.add(from);
    return { code: 0, stdout: entries.find((entry) => entry.includes(`src=${from} `)) ?? "", stderr: "" };
  };
  expect(await cleanFlows(run, ["IPv4"], [], [dns([one])], node)).toEqual([{ family: "IPv4", deleted: 200 }]);
  expect(removed.size).toBe(200);
  expect(most).toBe(4);
});

describe("an entry that ends by itself while it is removed", () => {
  const listed = ["10.0.0.2", "10.0.0.3"]
    .map(
      (client) =>
        `udp 17 9 src=${client} dst=10.96.0.10 sport=1 dport=53 src=10.1.0.2 dst=${client} sport=53 dport=1\n`,
    )
    .join("");
  const gone = "conntrack v1.4.7 (conntrack-tools): Operation failed: such conntrack doesn't exist\n";
  const cleaned = async (ran: readonly { code: number; stdout: string; stderr: string }[]) => {
    const left = [...ran];
    const run: Run = async (_program, args) =>
      args[0] === "-L"
        ? { code: 0, stdout: listed, stderr: "" }
        : (left.shift() ?? { code: 1, stdout: "", stderr: gone });
    return await cleanFlows(run, ["IPv4"], [], [dns([one])], node);
  };

  it("keeps no other from being removed", async () => {
    const ran = [
      { code: 1, stdout: "", stderr: gone },
      { code: 0, stdout: listed.split("\n")[1] ?? "", stderr: "" },
    ];
    expect(await cleaned(ran)).toEqual([{ family: "IPv4", deleted: 1 }]);
  });

  it("is said where it never ends", async () => {
    expect(await cleaned([])).toEqual([{ family: "IPv4", deleted: 0, problem: gone.trim() }]);
  });
});

const conntrack = spawnSync("unshare", ["--net", "conntrack", "-L"]).status === 0;
describe.skipIf(!conntrack)("with conntrack itself", () => {
  it("removes what is stale of both families, and nothing else", () => {
    const add = (args: string) => `conntrack -I -t 60 ${args} >/dev/null 2>&1`;
    const entry = (protocol: string, to: string, port: number, by: string, client: string) =>
      add(
        `-p ${protocol} -s ${client} -d ${to} --sport 4000 --dport ${port} -r ${by} -q ${client} ` +
          `--reply-port-src 53 --reply-port-dst 4000 ${protocol === "tcp" ? "--state ESTABLISHED" : ""}`,
      );
    const program = new URL("clean-flows.ts", import.meta.url).pathname;
    const script = [
      "set -e",
      "ip link set lo up",
      entry("udp", "10.96.0.10", 53, "10.1.0.1", "10.0.0.2"),
      entry("udp", "10.96.0.10", 53, "10.1.0.2", "10.0.0.3"),
      entry("udp", "10.96.0.10", 53, "10.1.0.2", "10.0.0.4"),
      entry("tcp", "10.96.0.10", 53, "10.1.0.2", "10.0.0.5"),
      entry("udp", "192.168.1.10", 30053, "10.1.0.2", "10.0.0.6"),
      entry("udp", "8.8.8.8", 30053, "10.1.0.2", "10.0.0.7"),
      entry("udp", "fd00:96::a", 53, "fd00:1::2", "fd00::2"),
      entry("udp", "fd00:96::a", 53, "fd00:1::1", "fd00::3"),
      `${process.execPath} ${program}`,
      "conntrack -L -f ipv4 2>/dev/null",
      "conntrack -L -f ipv6 2>/dev/null",
    ].join("\n");
    const output = execFileSync("unshare", ["--net", "bash", "-c", script], { encoding: "utf8" });
    expect(output.split("\n")[0]).toBe('[{"family":"IPv4","deleted":3},{"family":"IPv6","deleted":1}]');
    const left = [...output.matchAll(/^(tcp|udp) .*? src=(\S+)/gm)].map(
      ([, protocol, client]) => `${protocol} ${client}`,
    );
    expect(left.sort()).toEqual(["tcp 10.0.0.5", "udp 10.0.0.2", "udp 10.0.0.7", "udp fd00::3"]);
  });
});
