// The edge itself: whether it answers, to whom, and of which version. Pure.
import { compareText } from "../../../src/shared/sorted.ts";
import type { EdgeFacts, Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { isMinor } from "./asking.ts";

export function edgeFindings({ edge }: Facts): Finding[] {
  if (edge === undefined) return [];
  return [...refusalFindings(edge), ...skew(edge)];
}

function refusalFindings({ url, cluster, refusals }: EdgeFacts): Finding[] {
  const object = `Edge ${url}`;
  const silent = refusals.find(({ status }) => status === undefined);
  if (silent !== undefined) {
    const { host, hostname, port } = new URL(url);
    // Whatever is wrong with it, Node.js' sentence has the word.
    if (/\bcertificate\b/.test(silent.why)) {
      const show = `openssl s_client -connect ${port === "" ? `${host}:443` : host} -servername ${hostname} </dev/null`;
      return [finding("certificate-invalid", "error", object, silent.why, show)];
    }
    return [finding("edge-unreachable", "error", object, silent.why, `curl -i ${new URL("healthz", url).href}`)];
  }
  const [refused] = refusals.filter(({ asked, status }) => !isMinor(asked, status ?? 0));
  if (refused === undefined) return [];
  const { asked, status, why } = refused;
  const seen = `${asked}: ${why}`;
  if (status === 401 || status === 403)
    return [finding("token-refused", "error", object, seen, `postern login ${url}`)];
  if (status === 404)
    return [
      finding(
        "cluster-unknown",
        "error",
        `Cluster ${cluster}`,
        seen,
        `postern cluster list; postern join ${cluster} --apply`,
      ),
    ];
  return [finding("edge-unreachable", "error", object, seen, `curl -i ${new URL("healthz", url).href}`)];
}

/** "postern-agent 0.1.0" reads 0.1.0. */
const numberOf = (software: string): string => software.split(" ").at(-1) ?? "";

function skew({ url, command, software, nodes = [], probe }: EdgeFacts): Finding[] {
  if (software === undefined) return [];
  const own = numberOf(software);
  const agents = new Map<string, string>();
  for (const { node, tunnel } of nodes)
    for (const { connections } of tunnel) for (const { version } of connections) agents.set(node, numberOf(version));
  for (const { node, software: agent } of probe?.connections ?? []) agents.set(node, numberOf(agent));
  const others = [...agents].filter(([, version]) => version !== own).sort(([a], [b]) => compareText(a, b));
  const found = others.map(([node, version]) =>
    finding(
      "version-skew",
      "warning",
      `Node ${node}`,
      `its agent is ${version}, the edge is ${own}`,
      "docs/install.md, Upgrade: apply a new install manifest (postern join --apply)",
    ),
  );
  if (numberOf(command) !== own)
    found.push(
      finding(
        "version-skew",
        "warning",
        `Edge ${url}`,
        `this command is ${numberOf(command)}, the edge is ${own}`,
        "postern version",
      ),
    );
  return found;
}
