// The node programmer: the plan follows what is observed and what names lead to, and nobody hears that the node serves a state
// before it does.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Applied } from "../../agent/dataplane/executor.ts";
import { LogOnce } from "../../agent/log-once.ts";
import { NodeProgrammer } from "../../agent/node-programmer.ts";
import type { ForwardingPlan } from "../../agent/plan/plan.ts";
import { REFRESH_MS } from "../../agent/source/names.ts";
import type { Observed } from "../../agent/source/source.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, node, service, slice } from "./source/objects.ts";

const rules = {
  defaultClass: false,
  allowExternalName: ["lan"],
  clusterDomain: "cluster.local",
  ignoreExcludeLabel: false,
  endpointAlgorithms: [],
  forwards: "nodePorts" as const,
};
const web = (...addresses: string[]): Observed =>
  observe(
    node("n1"),
    service("web"),
    slice(
      "web",
      addresses.map((address) => endpoint(address, "n1")),
    ),
  );
const nas = observe(
  node("n1"),
  service(
    "nas",
    { type: "ExternalName", externalName: "nas.lan", clusterIP: null, ports: [{ port: 80 }] },
    { annotations: { "postern.dev/expose": "true" } },
  ),
);
const fine: Applied = { problems: [] };
const addressesOf = ({ services }: ForwardingPlan): string[] =>
  services.flatMap(({ ports }) => ports.flatMap(({ external }) => external.map(({ address }) => address)));

describe("node programmer", () => {
  let happened: string[];
  let warnings: string[];
  let leftOut: ReadonlyMap<string, string>;
  let answers: ReadonlyMap<string, readonly string[]>;
  let finish: (applied: Applied) => void;
  let programmer: NodeProgrammer;

  beforeEach(() => {
    vi.useFakeTimers();
    [happened, warnings, leftOut, answers] = [[], [], new Map(), new Map()];
    programmer = new NodeProgrammer({
      node: "n1",
      rules,
      executor: {
        apply: async (plan) => {
          happened.push(`apply ${addressesOf(plan).join()}`);
          return await new Promise<Applied>((resolve) => (finish = resolve));
        },
        clear: async () => void happened.push("clear"),
      },
      problems: {
        setFailures: (failures) => happened.push(`failures ${failures.map(({ message }) => message).join()}`),
        setLeftOut: (found) => (leftOut = found),
      },
      logOnce: new LogOnce((text) => warnings.push(text)),
      onApplied: () => happened.push("applied"),
      onServed: () => happened.push("served"),
      lookup: async (name) => {
        const found = answers.get(name);
        if (found === undefined) throw new Error("not found");
        return found;
      },
      localAddresses: () => ["192.168.1.7"],
    });
  });
  afterEach(() => vi.useRealTimers());
  const settle = () => vi.advanceTimersByTimeAsync(0);

  it("serves a state once it is applied, and not while a newer one is being applied", async () => {
    const [first, second] = [web("10.0.0.1"), web("10.0.0.2")];
    programmer.observe(first);
    await settle();
    expect(programmer.served).toBeUndefined();
    finish(fine);
    await settle();
    expect(programmer.served).toBe(first);
    expect(happened).toEqual(["apply 10.0.0.1", "failures ", "applied", "served"]);
    programmer.observe(second);
    await settle();
    expect(programmer.served).toBeUndefined();
    finish(fine);
    await settle();
    expect(programmer.served).toBe(second);
  });

  it("serves a state with an equal plan at once", async () => {
    programmer.observe(web("10.0.0.1"));
    finish(fine);
    await settle();
    const equal = web("10.0.0.1");
    happened.length = 0;
    programmer.observe(equal);
    expect(programmer.served).toBe(equal);
    expect(happened).toEqual(["served"]);
  });

  it("hands on what could not be done", async () => {
    programmer.observe(web("10.0.0.1"));
    finish({ problems: [{ service: "default/web", reason: "port-in-use", message: "port 80 is in use" }] });
    await settle();
    expect(happened).toEqual(["apply 10.0.0.1", "failures port 80 is in use", "applied", "served"]);
  });

  it("makes a new plan when a name leads elsewhere, and says which addresses it leaves out", async () => {
    answers = new Map([["nas.lan", ["192.168.1.9"]]]);
    programmer.observe(nas);
    await settle();
    finish(fine);
    await settle();
    expect(happened.filter((each) => each.startsWith("apply"))).toEqual(["apply ", "apply 192.168.1.9"]);
    answers = new Map([["nas.lan", ["192.168.1.7"]]]);
    await vi.advanceTimersByTimeAsync(REFRESH_MS);
    expect([...leftOut.keys()]).toEqual(["default/nas"]);
    expect([...programmer.refused(nas).keys()]).toEqual(["default/nas"]);
    finish(fine);
  });

  it("warns of a name that cannot be looked up", async () => {
    programmer.observe(nas);
    await settle();
    expect(warnings).toEqual(["externalName nas.lan cannot be looked up on this node: not found"]);
    finish(fine);
  });

  it("clears the node when it is stopped, after the apply under way, and does nothing more", async () => {
    programmer.observe(nas);
    await settle();
    expect(vi.getTimerCount()).toBe(1);
    const stopped = programmer.stop();
    for (const later of [web("10.0.0.2"), nas]) programmer.observe(later);
    finish(fine);
    await stopped;
    expect(programmer.served).toBeUndefined();
    expect(happened).toEqual(["apply ", "failures ", "applied", "clear"]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
