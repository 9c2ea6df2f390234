// One cluster, "home", with one Service on nodes that tests script; and what its shard holds, seen from inside.
import { runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import type { TunnelObject } from "../../../src/edge/tunnel/tunnel-object.ts";
import type { SnapshotService } from "../../../src/shared/model/snapshot.ts";
import { byListener, createCluster, published, service } from "./edge.ts";
import { type Backend, connectNode, type NodeOptions, type TestNode } from "./node.ts";

export type Init = Omit<RequestInit, "headers"> & { readonly headers?: Record<string, string> };

export class Cluster {
  readonly name: string;
  readonly token: string;
  readonly host: string;
  readonly nodes: TestNode[] = [];

  private constructor(name: string, token: string) {
    this.name = name;
    this.token = token;
    this.host = `web-default-${name}.edge.test`;
  }

  /** With these nodes in its table, none of them connected. */
  static async create(name: string, nodes: readonly string[], more: Partial<SnapshotService> = {}): Promise<Cluster> {
    const cluster = new Cluster(name, await createCluster(name));
    const web = service("web", { algorithm: "round-robin", ...more });
    const snapshot = { version: 1 as const, nodes: nodes.map((each) => ({ name: each })), services: [web] };
    await published(name, cluster.token, "1.1", snapshot);
    return cluster;
  }

  async connect(name: string, backend: Backend, more: Partial<NodeOptions> = {}): Promise<TestNode> {
    const node = await connectNode({ cluster: this.name, token: this.token, name, ...more }, backend);
    this.nodes.push(node);
    return node;
  }

  fetch(init: Init = {}, path = "/"): Promise<Response> {
    const headers = { ...byListener(this.host, "203.0.113.9"), ...init.headers };
    return exports.default.fetch(`http://${this.host}${path}`, { ...init, headers });
  }

  /** "<status> <reason>" of a failure, otherwise the status and the body. */
  async ask(init: Init = {}): Promise<string> {
    const response = await this.fetch(init);
    const text = await response.text();
    return `${response.status} ${response.headers.get("x-postern-reason") ?? text}`;
  }

  get shard() {
    return env.TUNNEL.get(env.TUNNEL.idFromName(`${this.name}/0`));
  }

  /** Streams open at the edge, and bytes that it holds for them. */
  async load(): Promise<{ open: number; held: number }> {
    const nodes = await this.shard.nodes();
    const open = nodes.flatMap(({ connections }) => connections).reduce((sum, { inFlight }) => sum + inFlight, 0);
    return { open, held: await runInDurableObject(this.shard, (shard) => (shard as TunnelObject).memory.held) };
  }

  /** Resolves when nothing is open or held any more; the test's own time limit ends it where that never comes. */
  async idle(): Promise<void> {
    for (;;) {
      const { open, held } = await this.load();
      if (open === 0 && held === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  leave(): void {
    for (const node of this.nodes) node.socket.close();
  }
}

/** Answers with the node's name once the request is whole. */
export const named: Backend = (stream) => stream.answer(stream.node.name);
