// Which host names and ports the edge's table has for the Services that are examined. Pure.
import type { Facts, ListenerAsk } from "./facts.ts";

/** Of every Service the first one, then the second, …: where not all can be asked, each is. */
export function listenersOf(
  table: NonNullable<NonNullable<Facts["edge"]>["table"]>,
  only: string | undefined,
): readonly ListenerAsk[] {
  const found = new Map<string, ListenerAsk[]>();
  for (const { hostname, port, tls, route } of table.listeners) {
    const service = table.routes[route]?.service ?? "";
    if (only !== undefined && service !== only) continue;
    const own = found.get(service) ?? [];
    own.push({ service, hostname, port, tls });
    found.set(service, own);
  }
  const longest = Math.max(0, ...[...found.values()].map((own) => own.length));
  return Array.from({ length: longest }, (_, at) => [...found.values()].flatMap((own) => own[at] ?? [])).flat();
}
