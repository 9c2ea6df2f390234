// Which mode an agent takes that was told none.
import { expect, it } from "vitest";
import { chooseMode, modeFor } from "../../../../agent/dataplane/kernel/mode.ts";

const nft = "nftables v1.0.6 (Lester Gooch #5)\n";
it.each([
  ["6.1.0-18-amd64", nft, "nftables"],
  ["5.13.0", "nftables v1.0.1", "nftables"],
  ["5.12.19", nft, "iptables"],
  ["4.19.0-26-amd64", nft, "iptables"],
  ["6.1.0", "nftables v1.0.0 (Fearless Fosdick)", "iptables"],
  ["6.1.0", "nftables v0.9.8 (E.D.S.)", "iptables"],
  ["6.1.0", "nftables v1.1", "nftables"],
  ["6.1.0", undefined, "iptables"],
  ["what", "ever", "iptables"],
])("kernel %s with %s: %s", (kernel, version, mode) => expect(modeFor(kernel, version).mode).toBe(mode));

it("asks nft itself", async () => {
  const missing = { code: undefined, stdout: "", stderr: "ENOENT" };
  expect(await chooseMode(() => Promise.resolve(missing), "6.1.0")).toEqual({
    mode: "iptables",
    because: "nft is not installed",
  });
  const found = { code: 0, stdout: nft, stderr: "" };
  expect(await chooseMode(() => Promise.resolve(found), "6.1.0")).toEqual({
    mode: "nftables",
    because: "kernel 6.1.0 and nftables v1.0.6 (Lester Gooch #5) can",
  });
});
