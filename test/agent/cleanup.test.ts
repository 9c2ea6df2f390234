// `cleanup` says each change that it makes, and nothing of what only reads.
import { expect, it } from "vitest";
import { cleanup } from "../../agent/cleanup.ts";
import { type Cleanup, type Leftover, leftovers } from "../../agent/dataplane/kernel/create.ts";
import type { Run } from "../../agent/dataplane/kernel/run.ts";

const fine = { code: 0, stdout: "", stderr: "" };
const outcomes: readonly Cleanup[] = [
  { of: "nftables", outcome: "cleaned", failed: false, open: 0 },
  { of: "ipvs", outcome: "left out: ipvsadm is not installed", failed: false, open: 0 },
];
const printed = async (
  args: readonly string[],
  calls: readonly Parameters<Run>[],
  result = outcomes,
  ran: Awaited<ReturnType<Run>> = fine,
  kubeProxyRuns = false,
) => {
  let text = "";
  let asked: readonly Leftover[] | undefined;
  const code = await cleanup(
    args,
    async () => ran,
    (more) => void (text += more),
    async (_settings, { run }, which) => {
      asked = which;
      for (const call of calls) await run(...call);
      return result;
    },
    async () => kubeProxyRuns,
  );
  return { code, text, asked };
};

it("prints what was changed, and the outcome of each mode", async () => {
  const { code, text } = await printed(
    [],
    [
      ["nft", ["--version"]],
      ["iptables-restore", ["--version"]],
      ["nft", ["-j", "list", "tables"]],
      ["nft", ["-f", "-"], "delete table ip kube-proxy\n"],
      ["iptables-save", ["-t", "nat"]],
      ["iptables", ["-w", "5", "-t", "nat", "-S"]],
      [
        "iptables-restore",
        ["--noflush", "-c"],
        Array.from({ length: 30 }, (_, index) => `-X CHAIN-${index}`).join("\n"),
      ],
      ["ipvsadm", ["-Ln"]],
      ["ip", ["link", "delete", "kube-ipvs0"]],
    ],
  );
  expect(code).toBe(0);
  expect(text).toContain("  nft -f -\n    delete table ip kube-proxy\n");
  expect(text).toContain("    -X CHAIN-19\n    … and 10 lines more\n");
  expect(text).toContain("  ip link delete kube-ipvs0\n");
  expect(text).not.toMatch(/list tables|iptables-save|-S|-Ln|--version/);
  expect(text).toMatch(/nftables: cleaned\nipvs: left out: ipvsadm is not installed\n3 changes made\n$/);
});

it("counts no change that did not work, and fails where a mode did", async () => {
  const failed: readonly Cleanup[] = [{ of: "nftables", outcome: "failed: nft: no", failed: true, open: 0 }];
  const { code, text } = await printed([], [["nft", ["-f", "-"], "delete table ip x\n"]], failed, { ...fine, code: 1 });
  expect({ code, text }).toEqual({ code: 1, text: "nftables: failed: nft: no\nnothing was there to remove\n" });
});

it("takes away everything, but beside a running kube-proxy only what cannot be kube-proxy's", async () => {
  expect((await printed([], [])).asked).toEqual(leftovers);
  const beside = await printed([], [], outcomes, fine, true);
  expect(beside.asked).toEqual(["nftables"]);
  expect(beside.text).toContain("a kube-proxy runs on this node: its rules stay");
});

it("explains itself, and takes nothing else", async () => {
  expect(await printed(["--help"], [])).toMatchObject({
    code: 0,
    text: expect.stringContaining("Usage: node agent/main.ts cleanup"),
  });
  expect(await printed(["--mode", "ipvs"], [])).toMatchObject({
    code: 2,
    text: expect.stringContaining("Unknown option"),
  });
});
