// Which nodes get no new streams, and why.
import { describe, expect, it } from "vitest";
import { EXCLUDE_LABEL, excludedReason, isStaying, nodeProblems, snapshotNode } from "../../../agent/plan/nodes.ts";
import { node, type Written } from "../source/objects.ts";
import { observe } from "./observe.ts";

const one = (written: Written) => {
  const [observed] = observe(written).nodes;
  if (observed === undefined) throw new Error("no Node");
  return observed;
};
const labelled = (value: string) => node("n1", { labels: { [EXCLUDE_LABEL]: value } });
const tainted = (key: string) => node("n1", {}, { spec: { taints: [{ key, effect: "NoSchedule" }] } });

describe("nodes", () => {
  it.each<[string, Written, RegExp | undefined]>([
    ["an ordinary node", node("n1"), undefined],
    ["kubeadm's label", labelled(""), /^label node.kubernetes.io\/exclude.* \(kubectl label node n1 .*- removes it\)$/],
    ["true", labelled("true"), /^label/],
    ["a value that means nothing", labelled("yes"), /^label/],
    ["false takes it back", labelled("false"), undefined],
    ["0 takes it back", labelled("0"), undefined],
    ["False takes it back", labelled("False"), undefined],
    [
      "cluster-autoscaler",
      tainted("ToBeDeletedByClusterAutoscaler"),
      /^taint ToBeDeletedByClusterAutoscaler: node n1 is being removed$/,
    ],
    ["karpenter", tainted("karpenter.sh/disrupted"), /^taint karpenter/],
    ["a cordoned node stays", tainted("node.kubernetes.io/unschedulable"), undefined],
    ["a NotReady node stays", tainted("node.kubernetes.io/not-ready"), undefined],
    ["being deleted", node("n1", { deletionTimestamp: "2026-01-01T00:00:00Z" }), /^node n1 is being deleted$/],
  ])("%s", (_what, written, expected) => {
    const reason = excludedReason(one(written), false);
    if (expected === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(expected);
  });

  it("can ignore the label, and only that", () => {
    expect(excludedReason(one(labelled("")), true)).toBeUndefined();
    expect(excludedReason(one(tainted("karpenter.sh/disrupted")), true)).toBeDefined();
  });

  it("become what the edge is told", () => {
    const annotations = { "postern.dev/direct-address": "n1.example.com", "postern.dev/weight": "3" };
    const labels = { "topology.kubernetes.io/zone": "attic" };
    expect(snapshotNode(one(node("n1", { annotations, labels })), { ignoreExcludeLabel: false })).toEqual({
      name: "n1",
      zone: "attic",
      directAddress: "n1.example.com",
      weight: 3,
    });
  });

  it.each([
    ["the annotation first", { "postern.dev/direct-address": "n1.lan" }, "InternalIP", "n1.lan"],
    ["else the first address of the type", {}, "InternalIP", "10.0.0.1"],
    ["none of that type", {}, "ExternalDNS", undefined],
    ["no type", {}, undefined, undefined],
  ] as const)("are reached directly: %s", (_, annotations, directAddressType, expected) => {
    const addresses = ["10.0.0.1", "10.0.0.2"].map((address) => ({ type: "InternalIP", address }));
    const written = node("n1", { annotations }, { status: { addresses } });
    const told = snapshotNode(one(written), { ignoreExcludeLabel: false, directAddressType });
    expect(told.directAddress).toBe(expected);
  });

  it("say what is wrong with their annotations", () => {
    const annotations = { "postern.dev/weight": "heavy" };
    expect(nodeProblems([one(node("n1", { annotations }))])).toEqual([
      'Node n1: annotation postern.dev/weight: "heavy" is not usable: write a whole number from 0 to 65535; the number of ready endpoints is used',
    ]);
  });

  it.each([
    ["there", {}, {}, true],
    ["excluded from load balancers, which kube-proxy does not look at", { labels: { [EXCLUDE_LABEL]: "" } }, {}, true],
    ["being deleted", { deletionTimestamp: "2026-01-01T00:00:00Z" }, {}, false],
    ["about to be removed", {}, { taints: [{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }] }, false],
    ["disrupted by another", {}, { taints: [{ key: "karpenter.sh/disrupted", effect: "NoSchedule" }] }, true],
  ])("take a balancer's traffic in kube-proxy's place: %s", (_, metadata, spec, expected) => {
    expect(isStaying(one(node("n1", metadata, { spec })))).toBe(expected);
  });

  it("that are not known take none", () => expect(isStaying(undefined)).toBe(false));
});
