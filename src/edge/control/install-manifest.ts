// The agent's manifest with one cluster's values in it. Pure. Values become JSON strings, which are YAML's double-quoted ones:
// nothing in them can end the string. The places are found by their text in the template; one that is missing is a fault of
// the build, not of the request.
import type { AgentIndex } from "../../shared/control/agent-index.ts";
import { settingOf } from "../../shared/model/option-names.ts";
import { commonTemplate, daemonSetOfImage, daemonSetThatFetches } from "./install-template.ts";

/** Where the pods have the agent from: an image with it in it, or the edge, whose files these are. */
export type AgentOrigin =
  | { readonly image: string }
  | { readonly files: Pick<AgentIndex, "main" | "probe">; readonly nodeImage?: string | undefined };

export interface Install {
  /** URL of the admin host, without a path. */
  readonly edge: string;
  readonly cluster: string;
  readonly token: string;
  readonly agent: AgentOrigin;
  /** Of the agent, by name without dashes in front: "default-class" → "true". */
  readonly options: Readonly<Record<string, string>>;
}

export function installManifest({ edge, cluster, token, agent, options }: Install): string {
  const settings = Object.entries(options).map(([name, value]) => `\n  ${settingOf(name)}: ${JSON.stringify(value)}`);
  const common = filled(commonTemplate, [
    ['POSTERN_EDGE: "https://postern.example.com"', `POSTERN_EDGE: ${JSON.stringify(edge)}`],
    ['POSTERN_CLUSTER: "name-of-this-cluster"', `POSTERN_CLUSTER: ${JSON.stringify(cluster)}`],
    [
      'POSTERN_INSECURE_PLAIN_HTTP: "false"',
      `POSTERN_INSECURE_PLAIN_HTTP: "${edge.startsWith("http:")}"${settings.join("")}`,
    ],
    ['token: "token-of-this-cluster"', `token: ${JSON.stringify(token)}`],
  ]);
  const head = `# The Postern agent for cluster ${cluster}. Holds a token of this cluster: keep it as you keep Secrets.\n`;
  return `${head}${common}---\n${daemonSet(agent)}`;
}

function daemonSet(agent: AgentOrigin): string {
  if ("image" in agent)
    return filled(daemonSetOfImage, [[imageOf(daemonSetOfImage), `image: ${JSON.stringify(agent.image)}`]]);
  const { files, nodeImage } = agent;
  const text = filled(daemonSetThatFetches, [
    ["main.mjs=sha256-of-the-agent", `main.mjs=${files.main}`],
    ["probe.mjs=sha256-of-the-probe", `probe.mjs=${files.probe}`],
  ]);
  // Two containers run it.
  return nodeImage === undefined ? text : text.replaceAll(imageOf(text), () => `image: ${JSON.stringify(nodeImage)}`);
}

const imageOf = (template: string): string => /image: "[^"]*"/.exec(template)?.[0] ?? "image:";

/** Each place is in the template once. */
function filled(template: string, places: readonly (readonly [place: string, filled: string])[]): string {
  let text = template;
  for (const [place, value] of places) {
    const [before, after, ...more] = text.split(place);
    if (before === undefined || after === undefined || more.length > 0)
      throw new Error(`the install template has not one ${place}`);
    text = `${before}${value}${after}`;
  }
  return text;
}
