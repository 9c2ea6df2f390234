// Whether the environment names a proxy that other programs would use to reach the edge. The agent dials out directly and does
// not read these variables. On a machine that has no other way out, its owner should know why the agent fails. Pure.

/** The variable's name as it is written, or undefined if none applies. The value is not returned: it may hold a password. */
export function ignoredProxy(edge: URL, environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const scheme = edge.protocol.slice(0, -1);
  const names = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, "all_proxy", "ALL_PROXY"];
  const name = names.find((each) => (environment[each] ?? "") !== "");
  if (name === undefined || isExcepted(edge.hostname, environment["no_proxy"] ?? environment["NO_PROXY"] ?? "")) {
    return undefined;
  }
  return name;
}

/** "localhost,.lan,example.com:443,*" as curl reads it, without ranges. */
function isExcepted(host: string, list: string): boolean {
  const plain = host.replace(/^\[|\]$/g, "");
  return list
    .split(/[\s,]+/)
    .map((entry) =>
      entry
        .toLowerCase()
        .replace(/:\d+$/, "")
        .replace(/^\*?\./, ""),
    )
    .some((entry) => entry === "*" || (entry !== "" && (plain === entry || plain.endsWith(`.${entry}`))));
}
