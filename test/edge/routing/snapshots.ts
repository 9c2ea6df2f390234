// Snapshots for the tests of compile: a Service, an endpoint, a node with what matters given and the rest ordinary.
import { compile, type CompileContext, type Compiled } from "../../../src/edge/routing/compile.ts";
import { dialRules } from "../../../src/edge/routing/dial.ts";
import type { Condition } from "../../../src/shared/model/conditions.ts";
import type { SnapshotEndpoint, SnapshotNode, SnapshotService } from "../../../src/shared/model/snapshot.ts";

export function service(name: string, more: Partial<SnapshotService> = {}): SnapshotService {
  const namespace = more.namespace ?? "default";
  return {
    namespace,
    name,
    uid: `uid of ${namespace}/${name}`,
    createdAt: "2026-01-01T00:00:00Z",
    kind: "LoadBalancer",
    hostnames: [],
    transport: "tunnel",
    algorithm: "least-request",
    ports: [tcp(80)],
    externalTrafficPolicy: "Cluster",
    sourceRanges: [],
    endpoints: [ready("n1")],
    conditions: [],
    ...more,
  };
}

export const tcp = (port: number, nodePort = 30_000 + (port % 1000)): SnapshotService["ports"][number] => ({
  name: `p${port}`,
  port,
  protocol: "TCP",
  nodePort,
});
export const udp = (port: number): SnapshotService["ports"][number] => ({ name: `u${port}`, port, protocol: "UDP" });

let made = 0;
function endpoint(node: string | undefined, more: Partial<SnapshotEndpoint>): SnapshotEndpoint {
  made++;
  return {
    key: `pod-${made}`,
    address: `10.0.${made >> 8}.${made & 255}`,
    ...(node === undefined ? {} : { node }),
    ready: false,
    serving: false,
    terminating: false,
    ports: { 80: 8080 },
    ...more,
  };
}
export const ready = (node?: string, more: Partial<SnapshotEndpoint> = {}): SnapshotEndpoint =>
  endpoint(node, { ready: true, serving: true, ...more });
export const leaving = (node?: string, more: Partial<SnapshotEndpoint> = {}): SnapshotEndpoint =>
  endpoint(node, { serving: true, terminating: true, ...more });
export const unready = (node?: string): SnapshotEndpoint => endpoint(node, {});

export const node = (name: string, more: Partial<SnapshotNode> = {}): SnapshotNode => ({ name, ...more });
export const threeNodes = [node("n1"), node("n2"), node("n3")];

export function compiled(
  services: readonly SnapshotService[],
  { nodes = threeNodes, ...context }: Partial<CompileContext> & { nodes?: readonly SnapshotNode[] } = {},
): Compiled {
  return compile(
    { version: 1, nodes: [...nodes], services: [...services] },
    {
      cluster: "home",
      edgeDomain: "edge.test",
      listenerPorts: "any",
      dial: dialRules({ ADMIN_HOST: "admin.test", LISTENER_PORTS: "any" }),
      assigned: {},
      refused: new Map(),
      ...context,
    },
  );
}

/** "host:port>routeport" of all listeners; a TLS one ends in "s". */
export const listeners = ({ table }: Compiled): string[] =>
  table.listeners.map(
    ({ hostname, port, route, tls }) => `${hostname}:${port}>${table.routes[route]?.port}${tls ? "s" : ""}`,
  );

/** Of "default/<name>": type (without our domain) → condition. */
export function conditions({ conditions: all }: Compiled, name = "web"): Record<string, Condition> {
  const list = all[`default/${name}`] ?? [];
  return Object.fromEntries(list.map((each) => [each.type.replace(/^postern\.dev\//, ""), each]));
}
