// The agent's manifest with one cluster's values in it. Pure. Values become JSON strings, which are YAML's double-quoted ones:
// nothing in them can end the string. The places are found by their text in the template; one that is missing is a fault of
// the build, not of the request.
import { installTemplate } from "./install-template.ts";

export interface Install {
  /** URL of the admin host, without a path. */
  readonly edge: string;
  readonly cluster: string;
  readonly token: string;
  /** undefined: as the template has it. */
  readonly image?: string | undefined;
  /** Of the agent, by name without dashes in front: "default-class" → "true". */
  readonly options: Readonly<Record<string, string>>;
}

export function installManifest({ edge, cluster, token, image, options }: Install): string {
  const settings = Object.entries(options).map(
    ([name, value]) => `\n  POSTERN_${name.toUpperCase().replaceAll("-", "_")}: ${JSON.stringify(value)}`,
  );
  const places: [place: string, filled: string][] = [
    ['POSTERN_EDGE: "https://postern.example.com"', `POSTERN_EDGE: ${JSON.stringify(edge)}`],
    ['POSTERN_CLUSTER: "name-of-this-cluster"', `POSTERN_CLUSTER: ${JSON.stringify(cluster)}`],
    [
      'POSTERN_INSECURE_PLAIN_HTTP: "false"',
      `POSTERN_INSECURE_PLAIN_HTTP: "${edge.startsWith("http:")}"${settings.join("")}`,
    ],
    ['token: "token-of-this-cluster"', `token: ${JSON.stringify(token)}`],
  ];
  if (image !== undefined) places.push([imageLine(), `image: ${JSON.stringify(image)}`]);
  let text = installTemplate;
  for (const [place, filled] of places) {
    const [before, after, ...more] = text.split(place);
    if (before === undefined || after === undefined || more.length > 0)
      throw new Error(`the install template has not one ${place}`);
    text = `${before}${filled}${after}`;
  }
  return `# The Postern agent for cluster ${cluster}. Holds a token of this cluster: keep it as you keep Secrets.\n${text}`;
}

const imageLine = (): string => /image: "[^"]*"/.exec(installTemplate)?.[0] ?? "image:";
