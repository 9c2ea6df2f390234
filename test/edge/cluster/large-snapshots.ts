// Snapshots near their limits, as texts that a leader may publish.
import type { Snapshot } from "../../../src/shared/model/snapshot.ts";

export const endpoint = (at: number) => ({
  key: `pod-${at}`,
  address: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`,
  node: `node-${at % 50}`,
  ready: true,
  serving: true,
  terminating: false,
  ports: { "80": 8080, "443": 8443 },
});
export const service = (
  at: number,
  more: Partial<Snapshot["services"][number]> = {},
): Snapshot["services"][number] => ({
  namespace: "default",
  name: `web-${at}`,
  uid: `uid-${at}`,
  createdAt: "2026-11-01T00:00:00Z",
  kind: "LoadBalancer",
  hostnames: [],
  transport: "tunnel",
  algorithm: "least-request",
  ports: [{ name: "http", port: 80, protocol: "TCP", nodePort: 30080 }],
  externalTrafficPolicy: "Cluster",
  sourceRanges: [],
  endpoints: [],
  conditions: [],
  ...more,
});
export const list = <T>(count: number, item: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => item(at));
export const snapshot = (nodes: number, services: unknown[]): string =>
  JSON.stringify({ version: 1, nodes: list(nodes, (at) => ({ name: `node-${at}` })), services });

/** The largest that are allowed, each by what it has most of. */
export const largest: readonly (readonly [what: string, text: string])[] = [
  [
    "50,000 endpoints",
    snapshot(
      50,
      list(1_000, (at) => service(at, { endpoints: list(50, (n) => endpoint(at * 50 + n)) })),
    ),
  ],
  [
    "10,000 of one Service",
    snapshot(
      50,
      list(5, (at) => service(at, { endpoints: list(10_000, endpoint) })),
    ),
  ],
  [
    "10,000 Services",
    snapshot(
      10,
      list(10_000, (at) => service(at)),
    ),
  ],
  [
    "5,000 nodes",
    snapshot(
      5_000,
      list(20, (at) => service(at)),
    ),
  ],
];
