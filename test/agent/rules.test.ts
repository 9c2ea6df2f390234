// What the options mean for plan, snapshot and start.
import { describe, expect, it } from "vitest";
import { parseOptions } from "../../agent/options.ts";
import { refusalToServe, rulesOf } from "../../agent/rules.ts";
import { parsed } from "./controller/services.ts";

const needed = ["--edge", "https://edge.test", "--cluster", "home", "--token-file", "token", "--node", "n1"];
function options(...more: string[]) {
  const result = parseOptions([...needed, "--manifests", "folder", ...more], {});
  if (!result.ok) throw new Error("wrong options");
  return result.options;
}
/** An address that k3s gave: another controller serves Services without a class. */
const beside = [parsed({ spec: { loadBalancerClass: undefined }, ingress: [{ ip: "192.0.2.1" }], writers: ["k3s"] })];

describe("rules", () => {
  it.each([
    ["no flag", [], false, false],
    ["--default-class", ["--default-class"], true, true],
    ["--force-default-class", ["--force-default-class"], true, false],
    ["both", ["--default-class", "--force-default-class"], true, false],
  ])("%s", (_what, flags, taken, refused) => {
    expect(rulesOf(options(...flags)).defaultClass).toBe(taken);
    expect(refusalToServe(options(...flags), { services: beside }) !== undefined).toBe(refused);
    expect(refusalToServe(options(...flags), { services: [] })).toBeUndefined();
  });

  it.each([
    [[], "nothing"],
    [["--proxy", "userspace", "--address", "127.0.0.1"], "nodePorts"],
    [["--proxy", "all"], "all"],
  ])("%j forwards %s", (flags, forwards) => {
    expect(rulesOf(options(...flags)).forwards).toBe(forwards);
  });

  it.each([
    [undefined, ["random", "rr", "wrr", "lc", "sh", "maglev"]],
    ["nftables", ["random", "rr", "wrr", "sh", "maglev"]],
    ["iptables", ["random", "rr"]],
  ] as const)("in mode %s Services can have their endpoints dealt by %j", (mode, algorithms) => {
    expect(rulesOf(options("--proxy", "all"), mode).endpointAlgorithms).toEqual(algorithms);
  });

  it("expects slices to follow only where Kubernetes writes them", () => {
    expect(rulesOf(options()).slicesFollow).toBe(false);
    expect(rulesOf({ ...options(), source: "kube" }).slicesFollow).toBe(true);
  });
});
