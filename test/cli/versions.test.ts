import { expect, it } from "vitest";
import { versionsOf } from "../../cli/versions.ts";

const [own, other] = ["a".repeat(64), "b".repeat(64)];

/** "1.0.0", or "1.0.0 <bundle>" */
const node = (name: string, ...agents: string[]) => {
  const connections = agents.map((agent) => {
    const [version, bundle] = agent.split(" ");
    const says = { version: `postern-agent ${version}`, ...(bundle !== undefined && { bundle }) };
    return { instance: "i", since: 1, draining: false, inFlight: 0, ...says };
  });
  const shard = { shard: 0, node: name, connections, available: true, reason: "", endpoints: [] };
  return { node: name, known: true, tunnel: [shard] };
};
const of = (...agents: string[][]) => agents.map((list, at) => node(`n${at}`, ...list));
const edge = (version: string) => ({ software: `postern-edge ${version}`, agent: { version, sha256: own } });

it("says nothing where all are of one version and bundle, an agent that is not connected among them", () => {
  const { agents, skew, edgeBundle } = versionsOf("postern 1.0.0", edge("1.0.0"), [
    ["home", of([`1.0.0 ${own}`, `1.0.0 ${own}`], [])],
  ]);
  expect(skew).toEqual([]);
  expect(edgeBundle).toBe(own);
  expect(agents).toEqual([{ cluster: "home", node: "n0", software: "postern-agent 1.0.0", bundle: own }]);
});

it("says nothing of bundles where the edge or an agent does not name its own", () => {
  expect(versionsOf("postern 1.0.0", edge("1.0.0"), [["home", of(["1.0.0"])]]).skew).toEqual([]);
  const older = { software: "postern-edge 1.0.0" };
  const { agents, skew } = versionsOf("postern 1.0.0", older, [["home", of([`1.0.0 ${other}`])]]);
  expect([agents.length, skew]).toEqual([1, []]);
});

it("names this command and the agents that differ from the edge, also one of which both run", () => {
  const { agents, skew } = versionsOf("postern 0.9.0", edge("1.1.0"), [
    ["home", of(["1.1.0", `1.0.0 ${other}`])],
    ["rack", of(["1.1.0"])],
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

it("names the agents of the edge's version that run another bundle, cluster by cluster", () => {
  const { agents, skew } = versionsOf("postern 1.0.0", edge("1.0.0"), [
    ["home", of([`1.0.0 ${own}`, `1.0.0 ${other}`], [`1.0.0 ${own}`])],
    ["rack", of([`1.0.0 ${own}`])],
  ]);
  expect(agents).toHaveLength(4);
  expect(skew).toEqual([
    "agents of cluster home run another bundle than the edge hands out, aaaaaaaaaaaa: n0 bbbbbbbbbbbb. Next: postern upgrade home",
  ]);
});
