// What of Services this node cannot do: whom it is told, how often, and within which limits.
import { beforeEach, describe, expect, it } from "vitest";
import type { NodeProblem } from "../../agent/dataplane/executor.ts";
import { ProxyMetrics } from "../../agent/health/proxy-metrics.ts";
import { ServiceProblems } from "../../agent/service-problems.ts";
import { observe } from "./plan/observe.ts";
import { service } from "./source/objects.ts";

const refused = (
  name: string,
  message = "no such rule",
  reason: NodeProblem["reason"] = "RulesRefused",
): NodeProblem => ({ service: `default/${name}`, reason, message });

let now: number;
let events: string[];
let metrics: ProxyMetrics;
let problems: ServiceProblems;
beforeEach(() => {
  [now, events, metrics] = [0, [], new ProxyMetrics()];
  problems = new ServiceProblems({
    ...{ node: "n1", metrics, now: () => now },
    record: ({ metadata }, each) =>
      events.push(...each.map(({ type, reason, message }) => `${metadata.name}: ${type} ${reason}: ${message}`)),
  });
});
const have = (...names: readonly string[]) =>
  problems.observed(observe(...names.map((name) => service(name))).services);
const series = async (name: string) =>
  (await metrics.text()).split("\n").filter((line) => line.startsWith(`postern_proxy_${name}{`));

describe("what a node cannot do of Services", () => {
  it("is an Event once, and once an hour while it lasts", () => {
    have("web");
    for (const at of [0, 30_000, 3_599_999]) {
      now = at;
      problems.set([refused("web")]);
    }
    expect(events).toEqual(["web: Warning RulesRefused: node n1: no such rule"]);
    now = 3_600_000;
    problems.set([refused("web")]);
    expect(events).toHaveLength(2);
  });

  it("is another Event when it is something else, when it comes back, or when the Service is another of that name", () => {
    have("web");
    problems.set([refused("web")]);
    problems.set([refused("web", "no such address")]);
    problems.set([]);
    problems.set([refused("web", "no such address")]);
    const { services } = observe(service("web"));
    problems.observed(services.map((each) => ({ ...each, metadata: { ...each.metadata, uid: "another" } })));
    problems.set([refused("web", "no such address")]);
    expect(events).toHaveLength(4);
  });

  it("of thousands of Services is fifty Events at once, then one in half a minute until all are said", () => {
    const names = Array.from({ length: 60 }, (_, at) => `s${at}`);
    have(...names);
    const all = names.map((name) => refused(name));
    problems.set(all);
    expect(events).toHaveLength(50);
    now = 29_999;
    problems.set(all);
    expect(events).toHaveLength(50);
    for (let i = 1; i <= 20; i++) {
      now = i * 30_000;
      problems.set(all);
    }
    expect(events).toHaveLength(60);
    expect(new Set(events).size).toBe(60);
  });

  it("is counted by reason; of the first hundred the Services are named; and what is over goes", async () => {
    const names = Array.from({ length: 150 }, (_, at) => `s${at}`);
    problems.set(names.map((name) => refused(name)));
    expect(await series("services_with_problems")).toEqual([
      'postern_proxy_services_with_problems{reason="RulesRefused"} 150',
    ]);
    expect(await series("service_problem")).toHaveLength(100);
    problems.set([]);
    expect([...(await series("services_with_problems")), ...(await series("service_problem"))]).toEqual([]);
  });

  it("is a condition with all that is wrong, and nothing of what is the node's own affair", () => {
    problems.set([
      refused("web", "no affinity", "AffinityNotSupported"),
      refused("web"),
      refused("shop", "the port is taken", "FailedToStartServiceHealthcheck"),
    ]);
    expect([...problems.conditions]).toEqual([
      [
        "default/web",
        expect.objectContaining({
          ...{ type: "postern.dev/ForwardingIncomplete", status: "True", reason: "RulesRefused" },
          message: "On node n1: no such rule. no affinity",
        }),
      ],
    ]);
  });

  it("is no Event where there is nobody to write it to", () => {
    const mute = new ServiceProblems({ node: "n1", metrics, now: () => now, record: undefined });
    mute.observed(observe(service("web")).services);
    mute.set([refused("web")]);
    expect(mute.conditions.size).toBe(1);
  });
});
