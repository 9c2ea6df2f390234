// Removing what modes and a kube-proxy left: where the tools are there, whatever becomes of the others.
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { cleanupLeftovers } from "../../../../agent/dataplane/kernel/create.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import { defaultSettings, type ProxyMode } from "../../../../agent/dataplane/kernel/settings.ts";

const installed =
  (...tools: readonly string[]): Run =>
  async (program) =>
    tools.includes(program)
      ? { code: 0, stdout: "v1", stderr: "" }
      : { code: undefined, stdout: "", stderr: `${program} cannot be run: ENOENT` };
const executor = (cleanup: () => Promise<number>) => ({
  ...{
    apply: async () => ({ problems: [] }),
    clear: async () => undefined,
    check: async () => "intact" as const,
    cleanup,
  },
  renew: () => undefined,
});

it("cleans what has its tools there, says what it left out, and goes on after a failure", async () => {
  const cleaned: ProxyMode[] = [];
  const effects = { run: installed("nft", "iptables-save", "iptables-restore", "ipset"), localAddresses: () => [] };
  const which = ["nftables", "iptables", "ipvs", "kube-proxy's nftables"] as const;
  const outcomes = await cleanupLeftovers(defaultSettings, effects, which, false, ({ mode }) =>
    executor(async () => {
      cleaned.push(mode);
      if (mode === "nftables") throw new Error("nft: no");
      return mode === "iptables" ? 3 : 0;
    }),
  );
  expect(outcomes).toEqual([
    { of: "nftables", outcome: "failed: nft: no", failed: true, open: 0 },
    {
      of: "iptables",
      outcome: "3 of its frontends stay until the connections through them have ended",
      failed: false,
      open: 3,
    },
    { of: "ipvs", outcome: "left out: ipvsadm is not installed", failed: false, open: 0 },
    { of: "kube-proxy's nftables", outcome: "cleaned", failed: false, open: 0 },
  ]);
  expect(cleaned).toEqual(["nftables", "iptables"]);
});

describe.each(["nftables", "kube-proxy's nftables"] as const)("tables of %s", (of) => {
  it.each([
    ["/dev/stdin:1:1-24: Error: Could not process rule: Operation not supported", /^cleaned$/],
    ["nft: Unable to initialize Netlink socket: Protocol not supported", /^cleaned$/],
    [
      "netlink: Error: cache initialization failed: Operation not permitted",
      /^failed: nft cannot delete table ip \S+: .*not permitted.* uid 0 and NET_ADMIN/,
    ],
    ["nft was ended by SIGKILL. ", /^failed: nft cannot delete table ip \S+: nft was ended by SIGKILL/],
  ])("are only not there where the kernel has no such thing: %s", async (stderr, outcome) => {
    const run: Run = async (_program, args) => ({ code: args[0] === "--version" ? 0 : 1, stdout: "", stderr });
    const [cleanup] = await cleanupLeftovers(defaultSettings, { run, localAddresses: () => [] }, [of]);
    expect(cleanup?.outcome).toMatch(outcome);
  });

  it.each([
    ["Operation not supported", /^cleaned$/],
    ["Device or resource busy", /^failed: nft cannot delete table ip6 \S+: Device or resource busy$/],
  ])("go of one family where those of the other cannot: %s", async (stderr, outcome) => {
    const deleted: string[] = [];
    const run: Run = async (_program, _args, input = "") => {
      if (input.includes("ip6")) return { code: 1, stdout: "", stderr };
      deleted.push(...(input.match(/delete table .*/g) ?? []));
      return { code: 0, stdout: "", stderr: "" };
    };
    const [cleanup] = await cleanupLeftovers(defaultSettings, { run, localAddresses: () => [] }, [of]);
    expect(deleted).toEqual([`delete table ip ${of === "nftables" ? "postern" : "kube-proxy"}`]);
    expect(cleanup?.outcome).toMatch(outcome);
  });
});

const namespaces = spawnSync("unshare", ["--net", "nft", "list", "tables"]).status === 0;
describe.skipIf(!namespaces)("with nft itself", () => {
  it("takes kube-proxy's tables away, and no others", () => {
    const program = new URL("remove-kube-proxy.ts", import.meta.url).pathname;
    const tables = ["ip kube-proxy", "ip6 kube-proxy", "inet kube-proxy", "ip kube-proxy-other", "ip other"];
    const script = [
      ...tables.map((table) => `nft add table ${table}`),
      `${process.execPath} ${program}`,
      "nft list tables",
    ];
    const output = execFileSync("unshare", ["--net", "bash", "-c", script.join(" && ")], { encoding: "utf8" });
    expect(output.trim().split("\n").sort()).toEqual([
      `[{"of":"kube-proxy's nftables","outcome":"cleaned","failed":false,"open":0}]`,
      "table inet kube-proxy",
      "table ip kube-proxy-other",
      "table ip other",
    ]);
  });
});
