// Builds and starts what a benchmark needs: nginx as backend, bare workerd with the pass-through Worker and Postern, one
// agent. Owns their processes; dispose() leaves nothing running.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { builtWorker } from "../../src/host/workerd/built-worker.ts";
import { type Declared, workerdConfig } from "../../src/host/workerd/configuration.ts";
import { workerdBinary } from "../../src/host/workerd/binary.ts";

const root = new URL("../..", import.meta.url).pathname;

export interface Stage {
  readonly ports: { readonly backend: number; readonly bare: number; readonly postern: number };
  readonly pids: { readonly bare: number; readonly postern: number; readonly agent: number };
  /** Host headers of the two Services. */
  readonly hosts: { readonly tunnel: string; readonly direct: string };
  dispose(): void;
}

export function ensureTools(): void {
  const missing = ["wrk", "nginx"].filter((tool) => spawnSync("which", [tool]).status !== 0);
  if (missing.length === 0) return;
  console.error(`Installing ${missing.join(" and ")} from Debian's packages …`);
  execFileSync("sh", ["-c", "apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk nginx-light"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

export interface StageOptions {
  readonly mask: "auto" | "random";
  /** Port of Postern's inspector, for a profile; absent: none. */
  readonly inspector?: number;
  /** Megabits a second between agent and edge; absent: what the machine gives. */
  readonly link?: number;
}

export async function startStage(options: StageOptions): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
  const children: ChildProcess[] = [];
  const dispose = (): void => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const [backend = 0, bare = 0, postern = 0, link = 0] = await freePorts(4);
    const ports = { backend, bare, postern, link };
    children.push(startNginx(folder, ports.backend));
    if (options.link !== undefined) {
      const relay = [`${root}test/bench/link.ts`, ports.link, ports.postern, options.link].map(String);
      children.push(spawn(process.execPath, relay, { stdio: ["ignore", "ignore", "inherit"] }));
    }
    // The Host that the API answers to: agents may reach it over the link alone.
    const admin = `127.0.0.1:${options.link === undefined ? ports.postern : ports.link}`;
    const adminToken = randomBytes(32).toString("base64url");
    const { bareScript, declared } = await writeWorkers(folder);
    mkdirSync(join(folder, "state"));
    const bareProcess = startWorkerd(folder, "bare", bareConfig(bareScript, ports));
    const edgeProcess = startWorkerd(
      folder,
      "postern",
      workerdConfig("postern.js", declared, {
        listen: `127.0.0.1:${ports.postern}`,
        storage: join(folder, "state"),
        assets: join(folder, "assets"),
        loopback: true,
        bindings: {
          EDGE_DOMAIN: "bench.test",
          ADMIN_HOST: admin,
          ADMIN_TOKEN_SHA256: createHash("sha256").update(adminToken).digest("hex"),
          LISTENER_PORTS: "any",
          DIRECT_ADDRESSES: "any",
        },
      }),
      options.inspector,
    );
    children.push(bareProcess, edgeProcess);
    const api = `http://${admin}`;
    await answering(`http://127.0.0.1:${ports.bare}/small`);
    await answering(`${api}/healthz`);
    const created = await fetch(`${api}/api/v1/clusters`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "bench" }),
    });
    if (!created.ok) throw new Error(`cannot create the cluster: ${created.status} ${await created.text()}`);
    const { token } = (await created.json()) as { token: string };
    writeFileSync(join(folder, "token"), token, { mode: 0o600 });
    const manifests = join(folder, "manifests");
    mkdirSync(manifests);
    writeFileSync(join(manifests, "bench.yaml"), yaml(ports.backend));
    const agent = spawn(
      process.execPath,
      [
        `${root}agent/main.ts`,
        ...["--node", "n1", "--manifests", manifests, "--edge", api, "--cluster", "bench"],
        ...["--token-file", join(folder, "token"), "--insecure-plain-http", "--proxy", "none", "--log-level", "warn"],
      ],
      { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, POSTERN_MASK: options.mask } },
    );
    children.push(agent);
    const hosts = { tunnel: "tunnel-default-bench.bench.test", direct: "direct-default-bench.bench.test" };
    for (const host of Object.values(hosts)) await answering(`http://127.0.0.1:${ports.postern}/small`, host);
    return {
      ports,
      hosts,
      pids: { bare: bareProcess.pid as number, postern: edgeProcess.pid as number, agent: agent.pid as number },
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

function startNginx(folder: string, port: number): ChildProcess {
  const www = join(folder, "www");
  mkdirSync(www, { recursive: true });
  writeFileSync(join(www, "small"), Buffer.alloc(1024, "a"));
  writeFileSync(join(www, "large"), Buffer.alloc(1024 * 1024, "a"));
  const config = join(folder, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
     events { worker_connections 4096; }
     http { access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; client_max_body_size 0;
       client_body_buffer_size 2m; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
       server { listen 127.0.0.1:${port} backlog=4096; root ${www};
         location = /upload { client_body_in_single_buffer on; proxy_pass http://127.0.0.1:${port}/sink; }
         location = /sink { return 204; } } }`,
  );
  return spawn("nginx", ["-c", config, "-p", folder], { stdio: ["ignore", "ignore", "inherit"] });
}

async function writeWorkers(folder: string): Promise<{ bareScript: string; declared: Declared }> {
  const bareScript = join(folder, "bare.js");
  writeFileSync(
    bareScript,
    `export default { fetch(request, env) {
       const url = new URL(request.url);
       url.host = env.BACKEND;
       return fetch(new Request(url, request), { redirect: "manual" });
     } };`,
  );
  const { declared, module } = await builtWorker(join(folder, "worker.json"), {
    assets: join(folder, "assets"),
    log: join(folder, "build.log"),
  });
  writeFileSync(join(folder, "postern.js"), module);
  return { bareScript, declared };
}

function startWorkerd(folder: string, name: string, config: string, inspector?: number): ChildProcess {
  const file = join(folder, `${name}.capnp`);
  writeFileSync(file, config);
  return spawn(
    workerdBinary(),
    ["serve", "--experimental", ...(inspector ? [`--inspector-addr=127.0.0.1:${inspector}`] : []), file],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
}

const flags = `compatibilityDate = "2026-11-01", compatibilityFlags = ["enable_request_signal", "request_signal_passthrough"]`;

function bareConfig(script: string, ports: { backend: number; bare: number }): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .bare), (name = "internet", network = (allow = ["public", "private", "local"])) ],
  sockets = [ (name = "http", address = "127.0.0.1:${ports.bare}", http = (), service = "main") ] );
const bare :Workerd.Worker = ( modules = [ (name = "bare.js", esModule = embed "${basename(script)}") ], ${flags},
  bindings = [ (name = "BACKEND", text = "127.0.0.1:${ports.backend}") ] );`;
}

/** Two Services with one endpoint, the backend: one by tunnel, one direct with the backend's port as its NodePort. */
function yaml(backend: number): string {
  const service = (name: string, extra: string, nodePort: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: default, uid: ${name}, creationTimestamp: "2026-01-01T00:00:00Z"${extra} }
spec:
  type: LoadBalancer
  loadBalancerClass: postern.dev/edge
  ports: [ { name: http, port: 80, protocol: TCP${nodePort} } ]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-1, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
ports: [ { name: http, port: ${backend}, protocol: TCP } ]
endpoints: [ { addresses: [ 127.0.0.1 ], nodeName: n1, conditions: { ready: true } } ]
---`;
  return `apiVersion: v1
kind: Node
metadata: { name: n1, annotations: { postern.dev/direct-address: 127.0.0.1 } }
status: { addresses: [ { type: InternalIP, address: 127.0.0.1 } ], conditions: [ { type: Ready, status: "True" } ] }
---${service("tunnel", "", "")}${service("direct", ", annotations: { postern.dev/transport: direct }", `, nodePort: ${backend}`)}`;
}

async function answering(url: string, host?: string): Promise<void> {
  const until = Date.now() + 20_000;
  let last = "";
  while (Date.now() < until) {
    const result = spawnSync("curl", [
      "-s",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      ...(host ? ["-H", `Host: ${host}`] : []),
      url,
    ]);
    last = result.stdout.toString();
    if (last === "200") return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${host ?? url} does not answer (last status ${last})`);
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
    }),
  );
  return servers.map((server) => {
    const { port } = server.address() as { port: number };
    server.close();
    return port;
  });
}
