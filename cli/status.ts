// What `postern status` says, out of what the edge answers. Pure.
import type { z } from "zod";
import type { ClusterNode, ClusterNodes, conditionsSchema, tableSchema } from "../src/shared/control/answers.ts";
import { type Condition, isTrouble } from "../src/shared/model/conditions.ts";
import { type Table, webAddress } from "./output.ts";

export interface ServiceStatus {
  /** "namespace/name" */
  readonly service: string;
  readonly addresses: readonly { readonly hostname: string; readonly port: number; readonly tls: boolean }[];
  /** In words, what keeps it from being served, or a part of it. Empty where all is well. */
  readonly troubles: readonly string[];
  readonly conditions: readonly Condition[];
}

export interface NodeStatus {
  readonly node: string;
  /** Of the agent, each once. */
  readonly versions: readonly string[];
  readonly connections: number;
  readonly inFlight: number;
  /** "" where it gets new requests; else why not. */
  readonly trouble: string;
  readonly directAddress?: string;
}

export interface Status {
  readonly cluster: string;
  readonly services: readonly ServiceStatus[];
  readonly nodes: readonly NodeStatus[];
  /** Of the edge itself. */
  readonly troubles: readonly string[];
}

export function statusOf(
  { cluster, listeners, routes }: z.infer<typeof tableSchema>,
  { services }: z.infer<typeof conditionsSchema>,
  { nodes, silentShards }: ClusterNodes,
): Status {
  const names = new Set([...routes.map(({ service }) => service), ...Object.keys(services)]);
  return {
    cluster,
    services: [...names].sort().map((service) => {
      const conditions = services[service] ?? [];
      const own = routes.flatMap((route, at) => (route.service === service ? [{ ...route, at }] : []));
      const unavailable = own.flatMap((route) =>
        route.unavailable === undefined ? [] : [`port ${route.port}: ${route.unavailable.message}`],
      );
      return {
        service,
        addresses: listeners
          .filter(({ route }) => own.some(({ at }) => at === route))
          .map(({ hostname, port, tls }) => ({ hostname, port, tls })),
        troubles: [...new Set([...conditions.filter(isTrouble).map(({ message }) => message), ...unavailable])],
        conditions,
      };
    }),
    nodes: nodes.map(nodeStatus),
    troubles:
      silentShards.length === 0 ? [] : [`shards ${silentShards.join(", ")} of the tunnel did not answer in time`],
  };
}

function nodeStatus({ node, known, excluded, directAddress, probe, tunnel }: ClusterNode): NodeStatus {
  const connections = tunnel.flatMap((shard) => shard.connections);
  const silent = tunnel.find(({ available }) => !available);
  const reasons = [
    known ? "" : "the cluster's last snapshot does not know it",
    excluded ?? "",
    tunnel.length === 0 ? "it is not connected" : (silent?.reason ?? ""),
    probe === undefined || probe.healthy ? "" : `its direct address does not answer: ${probe.reason}`,
  ];
  return {
    node,
    versions: [...new Set(connections.map(({ version }) => version))].sort(),
    connections: connections.length,
    inFlight: connections.reduce((sum, each) => sum + each.inFlight, 0),
    trouble: reasons.find((reason) => reason !== "") ?? "",
    ...(directAddress === undefined ? {} : { directAddress }),
  };
}

/** One line for each address. */
export function serviceTable({ services }: Status, isWide: boolean): Table {
  const rows = services.flatMap(({ service, addresses, troubles, conditions }) => {
    const shown = addresses.map(({ hostname, port, tls }) => webAddress(hostname, port, tls));
    const state = troubles.length === 0 ? "served" : (troubles[0] ?? "");
    const more = isWide ? [conditions.map(({ type, reason }) => `${type}=${reason}`).join(",")] : [];
    const lines = shown.length === 0 ? [["", state]] : shown.map((address) => [address, state]);
    return lines.map((cells, at) => [
      at === 0 ? service : "",
      cells[0] ?? "",
      at === 0 ? (cells[1] ?? "") : "",
      ...(at === 0 ? more : []),
    ]);
  });
  return { columns: ["SERVICE", "ADDRESS", "STATE", ...(isWide ? ["CONDITIONS"] : [])], rows };
}

export function nodeTable({ nodes }: Status, isWide: boolean): Table {
  const rows = nodes.map(({ node, connections, versions, trouble, inFlight, directAddress = "" }) => [
    ...[node, String(connections), versions.join(","), trouble === "" ? "available" : trouble],
    ...(isWide ? [String(inFlight), directAddress] : []),
  ]);
  return { columns: ["NODE", "CONNECTIONS", "AGENT", "STATE", ...(isWide ? ["IN FLIGHT", "DIRECT"] : [])], rows };
}
