// Which parts of a deployment are of which version, and whether they fit together. Pure.
import type { ClusterNodes } from "../src/shared/control/answers.ts";
import { compareText } from "../src/shared/sorted.ts";

export interface AgentVersion {
  readonly cluster: string;
  readonly node: string;
  /** "postern-agent 0.1.0" */
  readonly software: string;
}

export interface Versions {
  /** "postern 0.1.0" */
  readonly command: string;
  /** "postern-edge 0.1.0" */
  readonly edge: string;
  readonly agents: readonly AgentVersion[];
  /** In words, where they are of different versions. */
  readonly skew: readonly string[];
}

export function versionsOf(
  command: string,
  edge: string,
  nodes: readonly (readonly [cluster: string, nodes: ClusterNodes["nodes"]])[],
): Versions {
  const agents = nodes.flatMap(([cluster, list]) =>
    list.flatMap(({ node, tunnel }) => {
      const found = tunnel.flatMap(({ connections }) => connections.map(({ version }) => version));
      // Two while it is upgraded.
      return [...new Set(found)].sort(compareText).map((software) => ({ cluster, node, software }));
    }),
  );
  const own = numberOf(edge);
  const others = agents.filter(({ software }) => numberOf(software) !== own);
  const clusters = [...new Set(others.map(({ cluster }) => cluster))];
  return {
    command,
    edge,
    agents,
    skew: [
      ...(numberOf(command) === own ? [] : [`this command is ${numberOf(command)}, and the edge ${own}`]),
      ...clusters.map((cluster) => {
        const of = others.filter((each) => each.cluster === cluster);
        const shown = of.map(({ node, software }) => `${node} ${numberOf(software)}`).join(", ");
        return `agents of cluster ${cluster} are of other versions than the edge, ${own}: ${shown}. Next: postern upgrade ${cluster}`;
      }),
    ],
  };
}

/** "postern-agent 0.1.0" reads 0.1.0. */
const numberOf = (software: string): string => software.split(" ").at(-1) ?? "";
