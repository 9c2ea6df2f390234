// The edge under test, seen from outside: the control API through the Worker's own fetch, and snapshots to publish.
// Nothing here reaches into an object; tests that need to, import the bindings themselves.
import { listDurableObjectIds, reset, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import type { PublishResult, Snapshot, SnapshotService } from "../../../src/shared/model/snapshot.ts";

/** Its SHA-256 is in test/vitest.config.ts. */
export const ADMIN = "test-admin-token";

/** What the listener proxy adds: the Worker believes it by the secret, which is in test/vitest.config.ts. */
const proved = { "x-postern-forwarder": "test-forwarder-secret" };
export const byAdminPort = { ...proved, "x-postern-port": "admin", host: "admin.test" };
/** By the listener of this Host's own port. */
export const byListener = (host: string, client = ""): Record<string, string> => ({
  ...proved,
  "x-postern-port": host.split(":")[1] ?? "80",
  "x-postern-client": client,
  host,
});

export interface Call {
  readonly token?: string;
  readonly json?: unknown;
  readonly body?: BodyInit;
  readonly headers?: Record<string, string>;
}

export async function call(method: string, path: string, { token, json, body, headers = {} }: Call = {}) {
  return await exports.default.fetch(`http://admin.test${path}`, {
    method,
    headers: {
      ...byAdminPort,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(json !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(json !== undefined && { body: JSON.stringify(json) }),
    ...(body !== undefined && { body }),
  });
}

export interface Problem {
  readonly reason: string;
  readonly detail: string;
  readonly field?: string;
  readonly remedy?: string;
  readonly requestId: string;
}

/** Answers the new cluster's token. */
export async function createCluster(
  name: string,
  more: { hostnames?: string[]; shards?: number } = {},
): Promise<string> {
  const response = await call("POST", "/api/v1/clusters", { token: ADMIN, json: { name, ...more } });
  if (response.status !== 201) throw new Error(`creating ${name}: ${response.status} ${await response.text()}`);
  return (await response.json<{ token: string }>()).token;
}

export async function publish(
  cluster: string,
  token: string,
  generation: string,
  snapshot: unknown,
): Promise<Response> {
  return await call("PUT", `/api/v1/clusters/${cluster}/snapshot`, {
    token,
    json: snapshot,
    headers: { "postern-generation": generation },
  });
}

/** Publishes and expects success. */
export async function published(
  cluster: string,
  token: string,
  generation: string,
  snapshot: Snapshot,
): Promise<PublishResult> {
  const response = await publish(cluster, token, generation, snapshot);
  if (response.status !== 200) throw new Error(`publishing: ${response.status} ${await response.text()}`);
  return await response.json<PublishResult>();
}

/** Empties all objects, for the next test. reset() passes over those that do not run (seen), so they are woken first. */
export async function forgetAll(): Promise<void> {
  for (const namespace of [env.GATEWAY, env.CLUSTER, env.TUNNEL] as unknown as DurableObjectNamespace[])
    for (const id of await listDurableObjectIds(namespace))
      await runInDurableObject(namespace.get(id), () => undefined);
  await reset();
}

export const snapshotOf = (...services: SnapshotService[]): Snapshot => ({
  version: 1,
  nodes: [{ name: "node-a", directAddress: "127.0.0.1" }, { name: "node-b" }],
  services,
});

export function service(name: string, more: Partial<SnapshotService> = {}): SnapshotService {
  return {
    namespace: "default",
    name,
    uid: `uid-${name}`,
    createdAt: "2026-11-01T00:00:00Z",
    kind: "LoadBalancer",
    hostnames: [],
    transport: "tunnel",
    algorithm: "least-request",
    ports: [{ name: "http", port: 80, protocol: "TCP", nodePort: 30080 }],
    externalTrafficPolicy: "Cluster",
    sourceRanges: [],
    endpoints: [
      {
        key: `${name}-1`,
        address: "10.0.0.1",
        node: "node-a",
        ready: true,
        serving: true,
        terminating: false,
        ports: { "80": 8080 },
      },
    ],
    conditions: [],
    ...more,
  };
}

/** gzip of `text`, as an agent sends it. */
export async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  return await packed(new Blob([text]).stream());
}

/** gzip of so many MiB, made of pieces. */
export async function gzipOf(mebibytes: number, piece: () => Uint8Array): Promise<Uint8Array> {
  let left = mebibytes * 1024 * 1024;
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left <= 0) return controller.close();
      const bytes = piece();
      left -= bytes.length;
      return controller.enqueue(bytes);
    },
  });
  return await packed(source);
}

/** 64 KiB of text that hardly compresses. */
export const noise = (): Uint8Array =>
  crypto.getRandomValues(new Uint8Array(64 * 1024)).map((byte) => 48 + (byte & 63));

const packed = async (source: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await new Response(source.pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
