// Cleaning modes up: those whose tools are there, whatever becomes of the others.
import { expect, it } from "vitest";
import { cleanupModes } from "../../../../agent/dataplane/kernel/create.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import { defaultSettings, type ProxyMode } from "../../../../agent/dataplane/kernel/settings.ts";

const installed =
  (...tools: readonly string[]): Run =>
  async (program) =>
    tools.includes(program)
      ? { code: 0, stdout: "v1", stderr: "" }
      : { code: undefined, stdout: "", stderr: `${program} cannot be run: ENOENT` };
const executor = (cleanup: () => Promise<void>) => ({
  ...{ apply: async () => ({ problems: [] }), clear: async () => undefined, check: async () => true, cleanup },
});

it("cleans each mode whose tools are there, says which it left out, and goes on after a failure", async () => {
  const cleaned: ProxyMode[] = [];
  const effects = { run: installed("nft", "iptables-save", "iptables-restore", "ipset"), localAddresses: () => [] };
  const outcomes = await cleanupModes(defaultSettings, effects, undefined, (mode) =>
    executor(async () => {
      cleaned.push(mode);
      if (mode === "nftables") throw new Error("nft: no");
    }),
  );
  expect(outcomes).toEqual([
    { mode: "nftables", outcome: "failed: nft: no" },
    { mode: "iptables", outcome: "cleaned" },
    { mode: "ipvs", outcome: "left out: ipvsadm is not installed" },
  ]);
  expect(cleaned).toEqual(["nftables", "iptables"]);
});
