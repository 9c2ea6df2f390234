// Which parts of a deployment are of which version, and whether they fit together. Pure.
import type { z } from "zod";
import type { ClusterNodes, versionSchema } from "../src/shared/control/answers.ts";
import { compareText } from "../src/shared/sorted.ts";

export interface AgentVersion {
  readonly cluster: string;
  readonly node: string;
  /** "postern-agent 0.1.0" */
  readonly software: string;
  /** SHA-256 of its bundle; absent: it does not say. */
  readonly bundle?: string;
}

export interface Versions {
  /** "postern 0.1.0" */
  readonly command: string;
  /** "postern-edge 0.1.0" */
  readonly edge: string;
  /** SHA-256 of the agent that the edge hands out; absent: it does not say. */
  readonly edgeBundle?: string;
  readonly agents: readonly AgentVersion[];
  /** In words, where they are of different versions, or agents run another bundle than the edge's. */
  readonly skew: readonly string[];
}

export function versionsOf(
  command: string,
  { software: edge, agent }: z.infer<typeof versionSchema>,
  nodes: readonly (readonly [cluster: string, nodes: ClusterNodes["nodes"]])[],
): Versions {
  const agents = nodes.flatMap(([cluster, list]) =>
    list.flatMap(({ node, tunnel }) => {
      const found = tunnel.flatMap(({ connections }) => connections);
      const each = found.map(({ version: software, bundle }) => ({
        ...{ cluster, node, software },
        ...(bundle !== undefined && { bundle }),
      }));
      // Two while it is upgraded.
      const different = new Map(each.map((one) => [`${one.software} ${one.bundle ?? ""}`, one]));
      return [...different].sort(([a], [b]) => compareText(a, b)).map(([, one]) => one);
    }),
  );
  const own = numberOf(edge);
  const others = agents.filter(({ software }) => numberOf(software) !== own);
  // What is of another version is another bundle, which need not be said.
  const otherBundles = agents.filter(
    ({ software, bundle }) =>
      numberOf(software) === own && bundle !== undefined && agent !== undefined && bundle !== agent.sha256,
  );
  return {
    command,
    edge,
    ...(agent !== undefined && { edgeBundle: agent.sha256 }),
    agents,
    skew: [
      ...(numberOf(command) === own ? [] : [`this command is ${numberOf(command)}, and the edge ${own}`]),
      ...byCluster(others).map(([cluster, of]) => {
        const shown = of.map(({ node, software }) => `${node} ${numberOf(software)}`).join(", ");
        return `agents of cluster ${cluster} are of other versions than the edge, ${own}: ${shown}. Next: postern upgrade ${cluster}`;
      }),
      ...byCluster(otherBundles).map(([cluster, of]) => {
        const shown = of.map(({ node, bundle = "" }) => `${node} ${short(bundle)}`).join(", ");
        return `agents of cluster ${cluster} run another bundle than the edge hands out, ${short(agent?.sha256 ?? "")}: ${shown}. Next: postern upgrade ${cluster}`;
      }),
    ],
  };
}

function byCluster(agents: readonly AgentVersion[]): [cluster: string, agents: readonly AgentVersion[]][] {
  const names = [...new Set(agents.map(({ cluster }) => cluster))];
  return names.map((name) => [name, agents.filter(({ cluster }) => cluster === name)]);
}

/** Enough of a hash for people to tell two apart. */
export const short = (hash: string): string => hash.slice(0, 12);

/** "postern-agent 0.1.0" reads 0.1.0. */
const numberOf = (software: string): string => software.split(" ").at(-1) ?? "";
