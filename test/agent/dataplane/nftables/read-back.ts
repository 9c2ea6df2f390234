// What a table does for each frontend, read back from its elements as the rules would follow them; and the same from a plan. Numbers
// of Service ports and endpoints do not show in it.
import type { Family } from "../../../../agent/plan/endpoints.ts";
import type { KernelPort, PlanService } from "../../../../agent/plan/plan.ts";
import { slotsOf } from "../../../../agent/dataplane/nftables/slots.ts";
import type { FakeTable } from "./fake-nft.ts";

/** "10.96.0.1 . tcp . 80" or "tcp . 30001" → what becomes of it. Sets are sorted. */
export type Served = Record<string, object>;

/** Whose keys say all. */
const plainSets = [
  "refused",
  "dropped",
  "node-port-refused",
  "node-port-dropped",
  "ranged",
  "ranges",
  "hairpin",
  "cluster-ips",
];
const kinds = ["internalCluster", "internalLocal", "externalCluster", "externalLocal"] as const;
const cover = (name: string) => (name === "node-port-" ? "node-port-" : "");

export function readBack(table: FakeTable): Served {
  const set = (name: string) => table.sets.get(name) ?? new Map<string, string>();
  const served: Served = {};
  for (const prefix of ["", "node-port-"])
    for (const [key, value] of set(`${cover(prefix)}frontends`)) {
      const id = Number(value);
      const kind = kinds[id & 7] ?? "";
      const base = (id & 0xfffffff0) >>> 0;
      served[key] = {
        kind,
        ...(kind === "internalLocal" ? {} : { cluster: endpointsOf(table, base, key) }),
        ...(kind.endsWith("Local") ? { local: endpointsOf(table, (base | 8) >>> 0, key) } : {}),
      };
    }
  for (const name of plainSets) served[name] = [...set(name).keys()].sort();
  return served;
}

/** One entry for each slot. */
function endpointsOf(table: FakeTable, id: number, frontend: string): object | undefined {
  const hex = `0x${id.toString(16)}`;
  const set = (name: string) => table.sets.get(name) ?? new Map<string, string>();
  const l4 = /(tcp|udp|sctp)/.exec(frontend)?.[1] ?? "";
  const chain = /^goto (.*)$/.exec(set("balance").get(hex) ?? "")?.[1];
  if (chain === undefined) return undefined;
  if (chain !== "affine") {
    const rule = table.chains.get(chain)?.join("\n") ?? "";
    const count = Number(/mod (\d+)/.exec(rule)?.[1]);
    const slots = Array.from({ length: count }, (_, slot) => set(`slots-${l4}`).get(`${hex} . ${slot}`));
    return { choice: /numgen inc/.test(rule) ? "rr" : /jhash/.test(rule) ? "source" : "random", slots };
  }
  const base = set("affine-ports").get(hex) ?? "";
  const balance = /^goto (.*)$/.exec(set("affine-balance").get(base) ?? "")?.[1] ?? "";
  const count = Number(/mod (\d+)/.exec(table.chains.get(balance)?.[0] ?? "")?.[1]);
  const slots = Array.from({ length: count }, (_, slot) => set("affine-slots").get(`${base} . ${slot}`) ?? "");
  const timeouts = slots.map((slot) => {
    const remember = /^goto (.*)$/.exec(set("affine-endpoints").get(slot) ?? "")?.[1] ?? "";
    return /timeout (\d+)s/.exec(table.chains.get(remember)?.[0] ?? "")?.[1];
  });
  return { affinity: [...new Set(timeouts)], slots: slots.map((slot) => set(`affine-${l4}`).get(slot)) };
}

/** The same, from what the plan says. Of Service ports that ask for one frontend the first by name has it. */
export function expected(services: readonly PlanService[], family: Family): Served {
  const served: Served = {};
  const sets = new Map<string, Set<string>>();
  const put = (name: string, key: string) => sets.set(name, (sets.get(name) ?? new Set()).add(key));
  const ports = services
    .flatMap(({ key, kernel }) =>
      (kernel?.ports ?? []).map((port) => ({ owner: `${key} ${port.protocol} ${port.port}`, port })),
    )
    .filter(({ port }) => port.family === family)
    .sort((a, b) => (a.owner < b.owner ? -1 : 1));
  for (const { port } of ports) {
    const l4 = port.protocol.toLowerCase();
    put("cluster-ips", port.clusterIP);
    for (const { address, local } of [...port.cluster, ...port.local])
      if (local) put("hairpin", `${address} . ${address}`);
    const add = (key: string, prefix: string, kind: (typeof kinds)[number]) => {
      const isLocal = kind.endsWith("Local");
      const usable = isLocal ? port.local : port.cluster;
      if (usable.length > 0 || (kind === "externalLocal" && port.cluster.length > 0))
        served[key] ??= {
          kind,
          ...(kind === "internalLocal" ? {} : { cluster: slotsIn(port, port.cluster) }),
          ...(isLocal ? { local: slotsIn(port, port.local) } : {}),
        };
      if (usable.length === 0) put(`${prefix}${port.anywhere ? "dropped" : "refused"}`, key);
    };
    add(
      `${port.clusterIP} . ${l4} . ${port.port}`,
      "",
      port.internalPolicy === "Local" ? "internalLocal" : "internalCluster",
    );
    const external = port.externalPolicy === "Local" ? "externalLocal" : "externalCluster";
    for (const address of [...port.externalIPs, ...port.loadBalancerIPs])
      add(`${address} . ${l4} . ${port.port}`, "", external);
    if (port.nodePort !== undefined) add(`${l4} . ${port.nodePort}`, "node-port-", external);
    for (const address of port.sourceRanges === undefined ? [] : port.loadBalancerIPs) {
      put("ranged", `${address} . ${l4} . ${port.port}`);
      for (const range of port.sourceRanges ?? []) put("ranges", `${address} . ${l4} . ${port.port} . ${range}`);
    }
  }
  for (const name of plainSets) served[name] = [...(sets.get(name) ?? [])].sort();
  return served;
}

function slotsIn({ algorithm, affinitySeconds }: KernelPort, endpoints: KernelPort["cluster"]): object | undefined {
  if (endpoints.length === 0) return undefined;
  const { choice, slots } = slotsOf(endpoints, algorithm);
  const addresses = slots.map((at) => `${endpoints[at]?.address} . ${endpoints[at]?.port}`);
  return affinitySeconds === undefined
    ? { choice, slots: addresses }
    : { affinity: [String(affinitySeconds)], slots: addresses };
}
