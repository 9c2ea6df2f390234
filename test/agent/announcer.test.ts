// The announcer: what is offered to the edge and when, what only a leader adds, and what of the edge's answer is logged.
import { beforeEach, describe, expect, it } from "vitest";
import { Announcer, type AnnouncerHooks } from "../../agent/announcer.ts";
import { LogOnce } from "../../agent/log-once.ts";
import type { Observed } from "../../agent/source/source.ts";
import { type Condition, condition as conditionOf } from "../../src/shared/model/conditions.ts";
import type { PublishResult, SnapshotService } from "../../src/shared/model/snapshot.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, node, service, slice } from "./source/objects.ts";

const rules = {
  defaultClass: false,
  allowExternalName: [],
  clusterDomain: "cluster.local",
  ignoreExcludeLabel: false,
  endpointAlgorithms: ["random"] as const,
  forwards: "nodePorts" as const,
};
const web = observe(node("n1"), service("web"), slice("web", [endpoint("10.0.0.1", "n1", { ready: true })]));
const nas = observe(
  node("n1"),
  service(
    "nas",
    { type: "ExternalName", externalName: "nas.example.com", clusterIP: null, ports: [] },
    { annotations: { "postern.dev/expose": "true" } },
  ),
);

describe("announcer", () => {
  let served: Observed | undefined;
  let calls: string[];
  let warnings: string[];
  let offered: Observed[];
  let hooks: AnnouncerHooks;
  let announcer: Announcer;
  let listening: { silent: Map<string, number[]>; watched: (readonly SnapshotService[])[]; changed: () => void };

  beforeEach(() => {
    [served, calls, warnings, offered] = [undefined, [], [], []];
    announcer = new Announcer({
      rules: { ...rules, allowExternalName: ["example.com"] },
      logOnce: new LogOnce((text) => warnings.push(text)),
      served: () => served,
      refused: () => new Map([["default/nas", "leads to this machine"]]),
      incomplete: () =>
        new Map([["default/web", conditionOf("ForwardingIncomplete", "RulesRefused", "On node n1: no such rule")]]),
      start: (given) => {
        hooks = given;
        return {
          offer: (observed) => offered.push(observed),
          repeat: () => calls.push("repeat"),
          stop: async () => void calls.push("stop"),
        };
      },
      onAccepted: () => calls.push("accepted"),
      startListening: (changed) => {
        listening = { silent: new Map(), watched: [], changed };
        return {
          silent: listening.silent,
          watch: (services) => listening.watched.push(services),
          stop: () => calls.push("listening stopped"),
        };
      },
    });
  });

  it("offers only what the node serves", () => {
    announcer.announce();
    expect(offered).toEqual([]);
    served = web;
    announcer.announce();
    expect(offered).toEqual([web]);
  });

  it("repeats when the tunnel comes back, and not at its first connection", () => {
    for (const connected of [false, true, true]) announcer.tunnelChanged({ connected });
    expect(calls).toEqual([]);
    announcer.tunnelChanged({ connected: false });
    expect(calls).toEqual([]);
    announcer.tunnelChanged({ connected: true });
    expect(calls).toEqual(["repeat"]);
  });

  const conditionsOf = (observed: Observed) =>
    hooks
      .buildSnapshot(observed)
      .services.flatMap(({ conditions }) => conditions.map(({ type, message }) => `${type} ${message}`));

  it("adds what this node alone found while it leads, and only then", () => {
    expect([...conditionsOf(web), ...conditionsOf(nas)]).toEqual([]);
    hooks.onLeading(true);
    listening.silent.set("default/web", [80]);
    expect(conditionsOf(web)).toEqual([
      "postern.dev/ForwardingIncomplete On node n1: no such rule",
      expect.stringMatching(/^postern.dev\/TargetPortNotFound /),
    ]);
    expect(conditionsOf(nas)).toEqual([expect.stringContaining("leads to this machine")]);
    expect(listening.watched.map(([first]) => first?.name)).toContain("web");
    hooks.onLeading(false);
    expect(calls).toEqual(["listening stopped"]);
    expect([...conditionsOf(web), ...conditionsOf(nas)]).toEqual([]);
  });

  it("offers again when what listens has changed, if the node serves the state", () => {
    hooks.onLeading(true);
    listening.changed();
    expect(offered).toEqual([]);
    served = web;
    listening.changed();
    expect(offered).toEqual([web]);
  });

  const condition = (type: string, status: Condition["status"]): Condition => ({
    ...{ type, status, reason: "Reason" },
    message: `${type} is ${status}`,
  });
  const result = (...conditions: Condition[]): PublishResult => ({
    generation: { epoch: 1, sequence: 1 },
    table: 1,
    changed: true,
    services: { "default/web": { hostnames: [], conditions } },
  });

  it("logs the conditions that ask for something, once until it leads anew", () => {
    const found = result(
      condition("postern.dev/Programmed", "False"),
      condition("postern.dev/NoReadyPods", "True"),
      condition("postern.dev/HostNotKept", "True"),
      condition("postern.dev/HostnameConflict", "False"),
    );
    const lines = [
      "Service default/web: postern.dev/Programmed is False",
      "Service default/web: postern.dev/NoReadyPods is True",
    ];
    hooks.onResult(found);
    hooks.onResult(found);
    hooks.onResult(result(condition("postern.dev/Programmed", "True")));
    expect(warnings).toEqual(lines);
    expect(calls).toEqual(["accepted", "accepted", "accepted"]);
    hooks.onResult(found);
    hooks.onLeading(true);
    hooks.onResult(found);
    expect(warnings).toEqual([...lines, ...lines]);
    hooks.onLeading(false);
    hooks.onResult(found);
    expect(warnings).toEqual([...lines, ...lines, ...lines]);
  });

  it("stops what publishes", async () => {
    await announcer.stop();
    expect(calls).toEqual(["stop"]);
  });
});
