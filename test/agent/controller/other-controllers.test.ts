// Beside whom --default-class does not start.
import { describe, expect, it } from "vitest";
import { refusalOfDefaultClass, otherControllers } from "../../../agent/controller/other-controllers.ts";
import { ours, parsed } from "./services.ts";

const classless = { loadBalancerClass: undefined };
const addressed = { spec: classless, ingress: [{ ip: "192.0.2.1" }] };

describe("otherControllers", () => {
  it.each([
    ["nobody", [parsed({ spec: classless })], []],
    [
      "MetalLB by its webhook's label",
      [parsed({ metadata: { labels: { "app.kubernetes.io/name": "metallb" } } })],
      ["MetalLB"],
    ],
    ["MetalLB by its namespace", [parsed({ metadata: { namespace: "metallb-system" } })], ["MetalLB"]],
    ["k3s", [parsed({ ...addressed, writers: ["k3s"] })], ["k3s' ServiceLB (it gave Service default/web its address)"]],
    ["somebody", [parsed({ ...addressed, writers: ["ccm"] })], ["ccm (it gave Service default/web its address)"]],
    ["nobody knows who", [parsed(addressed)], ["another controller (it gave Service default/web its address)"]],
    ["a Service with a class of its own", [parsed({ ingress: [{ ip: "192.0.2.1" }], writers: ["k3s"] })], []],
    ["ours", [ours({ spec: classless })], []],
    ["another type", [parsed({ spec: { ...classless, type: "NodePort" } })], []],
    [
      "several, each once",
      [
        parsed({ ...addressed, writers: ["k3s"] }),
        parsed({ metadata: { namespace: "metallb-system" } }),
        parsed({ metadata: { namespace: "metallb-system", name: "b" } }),
      ],
      ["MetalLB", "k3s' ServiceLB (it gave Service default/web its address)"],
    ],
  ])("%s", (_what, services, found) => {
    expect(otherControllers(services)).toEqual(found);
  });
});

describe("refusalOfDefaultClass", () => {
  it("names the other one and the ways out", () => {
    const refusal = refusalOfDefaultClass([parsed({ ...addressed, writers: ["k3s"] })]);
    expect(refusal).toMatch(/^--default-class: k3s' ServiceLB .* --force-default-class$/);
  });
  it("is none beside nobody, and none where Postern already serves", () => {
    expect(refusalOfDefaultClass([parsed({ spec: classless })])).toBeUndefined();
    expect(refusalOfDefaultClass([parsed({ ...addressed, metadata: { name: "a" } }), ours()])).toBeUndefined();
  });
});
