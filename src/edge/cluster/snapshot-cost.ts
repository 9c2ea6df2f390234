// What a valid snapshot would cost to compile, to keep and to hand out. The table has a row for each pair of port and node,
// of port and host name, of port and source range: lists that are each within their limit may multiply to more than any
// memory holds. Pure; looked at before compile().
import { annotation } from "../../shared/model/annotations.ts";
import type { Snapshot } from "../../shared/model/snapshot.ts";

/** Each is far above what a cluster of hundreds of nodes has, and keeps the compiled table at some MB. */
const MOST = {
  names: 10_000,
  listeners: 30_000,
  routeNodes: 100_000,
  routeRanges: 10_000,
  routeEndpoints: 1_000_000,
} as const;

const words: Readonly<Record<keyof typeof MOST, string>> = {
  names: `host names (one for each Service, and those of ${annotation.hostname})`,
  listeners: "pairs of port and host name",
  routeNodes: "pairs of TCP port and node",
  routeRanges: "pairs of TCP port and source range",
  routeEndpoints: "pairs of TCP port and endpoint",
};

/** Why this snapshot costs too much, in words that say what to do; undefined: it does not. */
export function tooCostly({ nodes, services }: Snapshot): string | undefined {
  const sum: Record<keyof typeof MOST, number> = {
    names: 0,
    listeners: 0,
    routeNodes: 0,
    routeRanges: 0,
    routeEndpoints: 0,
  };
  for (const { ports, hostnames, sourceRanges, endpoints } of services) {
    const tcp = ports.filter(({ protocol }) => protocol === "TCP").length;
    sum.names += 1 + hostnames.length;
    // Beside its ports 443.
    sum.listeners += (tcp === 0 ? 0 : tcp + 1) * (1 + hostnames.length);
    sum.routeNodes += tcp * nodes.length;
    sum.routeRanges += tcp * sourceRanges.length;
    sum.routeEndpoints += tcp * endpoints.length;
  }
  for (const key of Object.keys(MOST) as (keyof typeof MOST)[])
    if (sum[key] > MOST[key])
      return `services: together they have ${sum[key]} ${words[key]}, and may have ${MOST[key]}: expose fewer Services in one cluster, or split it`;
  return undefined;
}
