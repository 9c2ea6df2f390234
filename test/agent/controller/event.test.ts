// Which Events a patch of the status is worth.
import { describe, expect, it } from "vitest";
import { spend } from "../../../agent/controller/event-recorder.ts";
import { type StatusPatch } from "../../../agent/controller/status.ts";
import { eventsFor } from "../../../agent/controller/event.ts";
import type { KubeService } from "../../../agent/source/resources.ts";
import type { Condition } from "../../../src/shared/model/conditions.ts";
import { condition, ours, parsed, programmed } from "./services.ts";

const ingress = ours().status.loadBalancer.ingress;
const patch = (conditions: readonly Condition[], parts: Partial<StatusPatch> = {}): StatusPatch => ({
  purpose: "write",
  body: {},
  conditions,
  ingress,
  ...parts,
});
const pending = ours({ ingress: [], conditions: [{ ...programmed, status: "False", reason: "Pending" }] });
const unserved: Condition = { ...programmed, status: "False", reason: "NoPort", message: "It has no TCP port." };
const noPods = condition("postern.dev/NoReadyPods");

describe("eventsFor", () => {
  it.each<[string, KubeService, StatusPatch, readonly string[]]>([
    ["marked", parsed({}), patch([], { purpose: "mark" }), ["Normal EnsuringLoadBalancer"]],
    [
      "released",
      ours(),
      patch([], { purpose: "release" }),
      ["Normal DeletingLoadBalancer", "Normal DeletedLoadBalancer"],
    ],
    ["served for the first time", pending, patch([programmed]), ["Normal EnsuredLoadBalancer"]],
    ["another message only", ours(), patch([{ ...programmed, message: "Other." }]), []],
    ["another address", ours(), patch([programmed], { ingress: [] }), ["Normal UpdatedLoadBalancer"]],
    ["not served", ours(), patch([unserved]), ["Warning SyncLoadBalancerFailed"]],
    ["a trouble more", ours(), patch([programmed, noPods]), ["Warning NoReadyPods"]],
    [
      "the same trouble",
      ours({ conditions: [programmed, noPods] }),
      patch([programmed, { ...noPods, message: "Else." }]),
      [],
    ],
    ["a trouble less", ours({ conditions: [programmed, noPods] }), patch([programmed]), []],
    [
      "what direct transport means is no trouble",
      ours(),
      patch([programmed, condition("postern.dev/HostNotKept")]),
      [],
    ],
    [
      "no node that may take requests",
      ours(),
      patch([programmed, condition("postern.dev/NoEligibleNodes")]),
      ["Warning UnAvailableLoadBalancer", "Warning NoEligibleNodes"],
    ],
    [
      "Kubernetes' own condition",
      pending,
      patch([programmed, condition("LoadBalancerPortsError", { reason: "LoadBalancerMixedProtocolNotSupported" })]),
      ["Normal EnsuredLoadBalancer", "Warning LoadBalancerPortsError"],
    ],
  ])("%s", (_what, service, made, told) => {
    expect(eventsFor(service, made).map(({ type, reason }) => `${type} ${reason}`)).toEqual(told);
  });

  it("says where a headless Service is served, for no status shows its address", () => {
    const headless = parsed({ spec: { type: "ClusterIP", loadBalancerClass: undefined, clusterIP: "None" } });
    expect(eventsFor(headless, patch([programmed], { ingress: [] }))[0]?.message).toBe(programmed.message);
  });
});

describe("spend", () => {
  it("gives 25 at once, then one in five minutes, never more than 25 again", () => {
    let bucket = spend(undefined, 0);
    for (let more = 0; more < 24; more++) bucket = spend(bucket, 0);
    expect(bucket?.tokens).toBe(0);
    expect(spend(bucket, 299_999)).toBeUndefined();
    bucket = spend(bucket, 300_000);
    expect(bucket).toMatchObject({ at: 300_000 });
    expect(spend(bucket, 300_000)).toBeUndefined();
    expect(spend(bucket, 1e12)?.tokens).toBe(24);
  });
});
