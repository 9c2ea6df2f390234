// Which of the ports that clusters' tables name are opened on this machine. A cluster's token must not open ports that its edge's
// owner does not expect, nor all of them; what is open stays open, so that a newcomer takes nothing from others. Pure.
import { inRanges, type PortRanges } from "../../edge/routing/port-ranges.ts";

/** Where the owner lists no ports: so many are opened for all clusters, and for one: twice what one Service may have. */
export const PORTS_MOST = 1_024;
export const PORTS_MOST_OF_CLUSTER = 256;

export interface ListenerRules {
  readonly offered: PortRanges;
  /** Absent: no limit but `offered`. */
  readonly most?: { readonly all: number; readonly cluster: number };
}

export interface Choice {
  readonly ports: ReadonlySet<number>;
  /** Cluster → its ports that stay closed, and why. */
  readonly refused: ReadonlyMap<string, string>;
}

/** `wanted`: by cluster. `open`: what is open now. */
export function chooseListeners(
  wanted: ReadonlyMap<string, ReadonlySet<number>>,
  open: ReadonlySet<number>,
  { offered, most }: ListenerRules,
): Choice {
  const ports = new Set<number>();
  const refused = new Map<string, Map<string, number[]>>();
  const refuse = (cluster: string, port: number, why: string): void => {
    const reasons = refused.get(cluster) ?? new Map<string, number[]>();
    refused.set(cluster, reasons.set(why, [...(reasons.get(why) ?? []), port]));
  };
  const counts = new Map<string, number>();
  const asked = [...wanted].flatMap(([cluster, of]) => [...of].map((port) => ({ cluster, port })));
  asked.sort((a, b) => Number(open.has(b.port)) - Number(open.has(a.port)) || a.port - b.port);
  for (const { cluster, port } of asked) {
    const count = counts.get(cluster) ?? 0;
    if (!inRanges(offered, port)) refuse(cluster, port, "not among the ports that this edge offers");
    else if (most !== undefined && count >= most.cluster)
      refuse(cluster, port, `${most.cluster} ports are the most for one cluster without --listener-ports`);
    else if (most !== undefined && !ports.has(port) && ports.size >= most.all)
      refuse(cluster, port, `${most.all} ports are the most for all clusters without --listener-ports`);
    else {
      counts.set(cluster, count + 1);
      ports.add(port);
    }
  }
  return { ports, refused: new Map([...refused].map(([cluster, reasons]) => [cluster, inWords(reasons)])) };
}

/** Ports named in one message. */
const NAMED_MAX = 10;

function inWords(reasons: ReadonlyMap<string, readonly number[]>): string {
  const parts = [...reasons].map(([why, ports]) => {
    const more = ports.length > NAMED_MAX ? ` and ${ports.length - NAMED_MAX} more` : "";
    return `${ports.length === 1 ? "port" : "ports"} ${ports.slice(0, NAMED_MAX).join(", ")}${more} (${why})`;
  });
  return parts.join("; ");
}
