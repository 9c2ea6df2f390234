import { expect, it } from "vitest";
import { versionsOf } from "../../cli/versions.ts";

const node = (name: string, ...versions: string[]) => {
  const connections = versions.map((version) => ({ instance: "i", since: 1, draining: false, inFlight: 0, version }));
  const shard = { shard: 0, node: name, connections, available: true, reason: "", endpoints: [] };
  return { node: name, known: true, tunnel: [shard] };
};
const of = (...versions: string[][]) => versions.map((list, at) => node(`n${at}`, ...list));

it("says nothing where all are of one version, an agent that is not connected among them", () => {
  const { agents, skew } = versionsOf("postern 1.0.0", "postern-edge 1.0.0", [
    ["home", of(["postern-agent 1.0.0", "postern-agent 1.0.0"], [])],
  ]);
  expect(skew).toEqual([]);
  expect(agents).toEqual([{ cluster: "home", node: "n0", software: "postern-agent 1.0.0" }]);
});

it("names this command and the agents that differ from the edge, also one of which both run", () => {
  const { agents, skew } = versionsOf("postern 0.9.0", "postern-edge 1.1.0", [
    ["home", of(["postern-agent 1.1.0", "postern-agent 1.0.0"])],
    ["rack", of(["postern-agent 1.1.0"])],
  ]);
  expect(agents.map(({ software }) => software)).toEqual([
    "postern-agent 1.0.0",
    "postern-agent 1.1.0",
    "postern-agent 1.1.0",
  ]);
  expect(skew).toEqual([
    "this command is 0.9.0, and the edge 1.1.0",
    expect.stringContaining("agents of cluster home are of other versions than the edge, 1.1.0: n0 1.0.0."),
  ]);
});
