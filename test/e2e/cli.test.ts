// The `postern` command as its user runs it, against the real edge of `npm start`: every command, by its text, its JSON and its
// exit code. kubectl alone is a stand-in, which says what it was asked.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dial, Emulation } from "./emulation.ts";

const root = new URL("../..", import.meta.url).pathname;

let folder: string;
let emulation: Emulation;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function postern(
  line: string,
  { input = "", env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const own = { POSTERN_CONFIG: join(folder, "config.yaml"), PATH: `${folder}:${process.env["PATH"]}` };
  const child = spawn(process.execPath, [join(root, "cli/main.ts"), ...line.split(" ")], {
    env: { ...process.env, ...own, ...env },
  });
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [code, out, err] = await Promise.all([ended, buffer(child.stdout), buffer(child.stderr)]);
  return { code, out: out.toString(), err: err.toString() };
}

/** Of a doctor who has found something. */
async function json6(line: string): Promise<{ readonly findings: readonly { readonly id: string }[] }> {
  const { code, out } = await postern(`${line} -o json`);
  expect(code).toBe(6);
  return JSON.parse(out) as Awaited<ReturnType<typeof json6>>;
}

async function json<T>(line: string): Promise<T> {
  const { code, out, err } = await postern(`${line} -o json`);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as T;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-cli-"));
  emulation = await Emulation.start();
  const daemonSet = {
    metadata: { generation: 1 },
    spec: {
      template: { spec: { initContainers: [{ image: "node:24-slim" }], containers: [{ image: "node:24-slim" }] } },
    },
    status: {
      observedGeneration: 1,
      desiredNumberScheduled: emulation.ready.nodes.length,
      updatedNumberScheduled: emulation.ready.nodes.length,
    },
  };
  const installed = { data: { POSTERN_CLUSTER: "upgraded", POSTERN_DEFAULT_CLASS: "true" } };
  const script = `#!/bin/sh
echo "$*" >> ${folder}/asked
case "$*" in
  *"get -n postern-system daemonset "*) echo '${JSON.stringify(daemonSet)}' ;;
  *"get -n postern-system configmap "*) echo '${JSON.stringify(installed)}' ;;
  "--context stuck delete daemonsets "*) echo "error: no answer" >&2; exit 1 ;;
  "--context stuck delete "*) echo "error: forbidden" >&2; exit 1 ;;
  "get -n shop deployment/web -o json") echo '{"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[{"ports":[{"containerPort":8080}]}]}}}}' ;;
  "get -n shop deployment/none -o json") echo 'Error from server (NotFound): deployments.apps "none" not found' >&2; exit 1 ;;
  "get -n shop service/"*) cat ${folder}/service ;;
  "apply -f -") cat > ${folder}/applied ;;
  "--context broken "*) echo "error: context broken does not exist" >&2; exit 1 ;;
esac
`;
  writeFileSync(join(folder, "kubectl"), script);
  chmodSync(join(folder, "kubectl"), 0o755);
  const { url, tokenFile } = emulation.ready.api;
  const { code, out } = await postern(`login ${url} --name demo --token-file ${tokenFile}`);
  expect([code, out]).toEqual([0, expect.stringContaining(`Logged in to ${url} as context demo`)]);
});
afterAll(async () => {
  await emulation.stop();
  rmSync(folder, { recursive: true });
});

describe("login", () => {
  it("keeps no token that the edge does not take, and shows none", async () => {
    const { url } = emulation.ready.api;
    const before = readFileSync(join(folder, "config.yaml"), "utf8");
    const refused = await postern(`login ${url} --name other --token-file -`, { input: "not-the-token" });
    expect([refused.code, refused.err]).toEqual([5, expect.stringContaining("does not take this token")]);
    expect(refused.err + refused.out).not.toContain("not-the-token");
    const nobody = await postern("login http://127.0.0.1:9 --token-file -", { input: "x" });
    expect([nobody.code, nobody.err]).toEqual([4, expect.stringMatching(/cannot be reached.*\nNext: curl -i/)]);
    expect(readFileSync(join(folder, "config.yaml"), "utf8")).toBe(before);
    expect(statSync(join(folder, "config.yaml")).mode & 0o777).toBe(0o600);
    expect((await postern("context list")).out).toMatch(/^CURRENT +NAME +EDGE +CLUSTER\n\* +demo +http/);
  });

  it("takes a cluster's token for that cluster alone", async () => {
    const { url } = emulation.ready.api;
    expect((await postern(`cluster add own --token-file ${folder}/own.token`)).code).toBe(0);
    const unnamed = await postern(`login ${url} --name own --token-file ${folder}/own.token`);
    expect([unnamed.code, unnamed.err]).toEqual([2, expect.stringContaining("--cluster NAME")]);
    expect((await postern(`login ${url} --name own --cluster own --token-file ${folder}/own.token`)).code).toBe(0);
    expect((await postern("cluster show")).out).toContain("owner");
    const others = await postern("cluster list");
    expect([others.code, others.err]).toEqual([5, expect.stringContaining("the token may not do that")]);
    expect((await postern("context use demo")).code).toBe(0);
    expect((await postern("context remove own")).code).toBe(0);
    expect((await postern("context use own")).code).toBe(3);
    expect((await postern("cluster remove own")).code).toBe(2);
    expect((await postern("cluster remove own --yes")).code).toBe(0);
  });
});

it("status: what is served, by whom, and what is wrong; for people and for programs", async () => {
  interface Found {
    services: { service: string; addresses: { hostname: string; port: number }[]; troubles: string[] }[];
    nodes: { node: string; connections: number; trouble: string }[];
  }
  const found = await json<Found>("status");
  expect(found.nodes.map(({ node, trouble }) => [node, trouble])).toEqual(
    emulation.ready.nodes.map(({ name }) => [name, ""]),
  );
  const [first] = emulation.ready.urls;
  const { hostname, port } = new URL(first ?? "");
  const served = found.services.flatMap(({ addresses }) => addresses.map((each) => `${each.hostname}:${each.port}`));
  expect(served).toContain(`${hostname}:${port === "" ? 80 : port}`);
  const { out } = await postern("status -o wide");
  expect(out).toMatch(/^SERVICE +ADDRESS +STATE +CONDITIONS\n/);
  for (const { name } of emulation.ready.nodes) expect(out).toMatch(new RegExp(`^${name} +\\d+ .*available`, "m"));
  const missing = await postern("status nowhere");
  expect([missing.code, missing.err]).toEqual([3, expect.stringContaining("Next: postern cluster list")]);
});

it("cluster: made, shown, given another token, removed", async () => {
  expect((await postern("cluster add shop --hostname *.shop.example.com")).out).toContain("Next: postern join shop");
  const again = await postern("cluster add shop");
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("Next: postern cluster list")]);
  for (const line of ["cluster add Shop", "cluster add many --shards x", "join shop --apply --timeout x"])
    expect((await postern(line)).code).toBe(2);
  const { clusters } = await json<{ clusters: { name: string; hostnames: string[] }[] }>("cluster list");
  expect(clusters.find(({ name }) => name === "shop")?.hostnames).toEqual(["*.shop.example.com"]);
  const wrong = join(folder, "nowhere/shop.token");
  const [token] = (await json<{ tokens: { id: string }[] }>("cluster show shop")).tokens;
  const file = join(folder, "shop.token");
  writeFileSync(file, "kept\n");
  const unwritten = await postern(`cluster rotate shop --token ${token?.id} --token-file ${wrong}`);
  expect([unwritten.code, unwritten.err]).toEqual([2, expect.stringContaining("cannot be written")]);
  expect((await postern(`cluster rotate shop --token 00000000 --token-file ${file}`)).code).toBe(3);
  expect(readFileSync(file, "utf8")).toBe("kept\n");
  // So the token is still the first one.
  expect((await json<{ tokens: { id: string }[] }>("cluster show shop")).tokens).toEqual([token]);
  expect((await postern(`cluster rotate shop --token ${token?.id} --token-file ${file}`)).code).toBe(0);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const secret = readFileSync(file, "utf8").trim();
  const asShop = { env: { POSTERN_TOKEN: secret, POSTERN_CLUSTER: "shop" } };
  const shown = await postern("cluster show", asShop);
  expect([shown.code, shown.out]).toEqual([0, expect.stringContaining("shop")]);
  const now = (await json<{ tokens: { id: string }[] }>("cluster show shop")).tokens[0];
  expect((await postern(`cluster revoke shop --token ${now?.id}`)).code).toBe(0);
  expect((await postern("cluster show", asShop)).code).toBe(5);
  expect((await postern("cluster remove shop --yes")).code).toBe(0);
  expect((await postern("cluster show shop")).code).toBe(3);
});

describe("join", () => {
  it("prints the one command, and nothing else, for a cluster that need not be there yet", async () => {
    const { code, out, err } = await postern("join new --option default-class=true");
    expect(code).toBe(0);
    expect(err).toMatch(/^Cluster new is new\.\nGood until \d\d:\d\d and for \d+ times/);
    const [, url = ""] = /^kubectl apply -f (\S+)\n$/.exec(out) ?? [];
    const manifest = await (await request(url)).body.text();
    expect(manifest).toMatch(/POSTERN_CLUSTER: "?new"?/);
    expect(manifest).toMatch(/POSTERN_DEFAULT_CLASS: "true"/);
    // The edge of `npm start` hands out the agent, too.
    const [, hash = "none"] = /main\.mjs=([0-9a-f]{64})$/m.exec(manifest) ?? [];
    const agent = await (await request(new URL(`/agent/${hash}.mjs`, url))).body.bytes();
    expect(createHash("sha256").update(agent).digest("hex")).toBe(hash);
    expect((await postern("cluster remove new --yes")).code).toBe(0);
  });

  it("runs it, and waits until every node is connected", async () => {
    const { clusters } = await json<{ clusters: { name: string }[] }>("cluster list");
    const name = clusters[0]?.name ?? "";
    const { code, out } = await postern(`join ${name} --apply --kube-context mine`);
    expect([code, out]).toEqual([
      0,
      expect.stringContaining(`has joined: ${emulation.ready.nodes.map((each) => each.name).join(", ")}`),
    ]);
    const asked = readFileSync(join(folder, "asked"), "utf8").split("\n");
    expect(asked[0]).toMatch(/^--context mine apply -f http\S+\/install\/\S+\.yaml$/);
    expect(asked[1]).toMatch(/^--context mine get -n postern-system daemonset postern-agent -o json$/);
  });

  it("says what kubectl says, and what is missing", async () => {
    const { clusters } = await json<{ clusters: { name: string }[] }>("cluster list");
    const broken = await postern(`join ${clusters[0]?.name} --apply --kube-context broken`);
    expect([broken.code, broken.err]).toEqual([1, expect.stringContaining("context broken does not exist")]);
    const late = await postern("join empty --apply --timeout 0");
    expect([late.code, late.err]).toEqual([
      1,
      expect.stringMatching(/0 of \d+ nodes are connected after 0 s\nNext: kubectl/),
    ]);
    expect((await postern("join empty --option default-class")).code).toBe(2);
    expect((await postern("cluster remove empty --yes")).code).toBe(0);
  });
});

describe("upgrade", () => {
  it("applies the edge's manifest with the options that the cluster has, and only to the cluster that is meant", async () => {
    expect((await postern("cluster add upgraded")).code).toBe(0);
    rmSync(join(folder, "asked"), { force: true });
    const { code, err } = await postern("upgrade upgraded --timeout 0");
    // No agent of it runs here.
    expect([code, err]).toEqual([1, expect.stringMatching(/Applying the manifest of postern-edge [^]*0 of \d+ nodes/)]);
    const [, url = ""] = /^apply -f (http\S+)$/m.exec(readFileSync(join(folder, "asked"), "utf8")) ?? [];
    // Unlike the stand-in, a kubectl would have fetched it.
    const manifest = await (await request(url)).body.text();
    expect(manifest).toMatch(/POSTERN_CLUSTER: "?upgraded"?/);
    expect(manifest).toMatch(/POSTERN_DEFAULT_CLASS: "true"/);
    expect(manifest).toMatch(/image: "?node:24-slim"?/);

    const other = await postern("upgrade rack");
    expect([other.code, other.err]).toEqual([2, expect.stringContaining("belong to upgraded, not to rack")]);
    expect((await postern("cluster remove upgraded --yes")).code).toBe(0);
  });
});

describe("uninstall", () => {
  it("asks first, takes the agent out by kubectl, and the cluster from the edge where that is wanted", async () => {
    expect((await postern("cluster add leaving")).code).toBe(0);
    const asked = await postern("uninstall --kube-context mine --remove-cluster leaving");
    expect([asked.code, asked.err]).toEqual([2, expect.stringContaining("of the cluster mine")]);
    expect((await postern("cluster show leaving")).code).toBe(0);

    const { code, out } = await postern("uninstall --kube-context mine --remove-cluster leaving --yes");
    expect([code, out]).toEqual([0, expect.stringContaining("leaving is removed at the edge")]);
    expect(readFileSync(join(folder, "asked"), "utf8")).toContain("--context mine delete clusterrolebindings");
    expect((await postern("cluster show leaving")).code).toBe(3);
  });

  it("takes nothing away where the second half could not be done, and says what is left", async () => {
    rmSync(join(folder, "asked"), { force: true });
    expect((await postern("uninstall --remove-cluster nowhere --yes")).code).toBe(3);
    expect(existsSync(join(folder, "asked"))).toBe(false);
    const stuck = await postern("uninstall --kube-context stuck --yes");
    expect([stuck.code, stuck.err]).toEqual([
      1,
      expect.stringMatching(/not all out yet: .*forbidden[^]*Next: the same/),
    ]);
    expect((await postern("uninstall --kube-context $(reboot) --yes")).code).toBe(2);
  });
});

describe("expose", () => {
  const service = (parts: object = {}) =>
    writeFileSync(
      join(folder, "service"),
      JSON.stringify({ metadata: { name: "web", namespace: "shop" }, spec: { ports: [{ port: 80 }] }, ...parts }),
    );
  const programmed = (status: string, message: string) => ({
    status: {
      loadBalancer: { ingress: status === "True" ? [{ hostname: "web.test" }] : [] },
      conditions: [{ type: "postern.dev/Programmed", status, message }],
    },
  });

  it("applies a Service, and says where it is served", async () => {
    service(programmed("True", ""));
    const { code, out } = await postern("expose deployment/web -n shop --port 80");
    expect([code, out]).toEqual([0, "http://web.test\n"]);
    const applied = readFileSync(join(folder, "applied"), "utf8");
    expect(applied).toMatch(/loadBalancerClass: postern.dev\/edge/);
    rmSync(join(folder, "applied"));
    const dry = await postern("expose deployment/web -n shop --port 80 --dry-run");
    expect([dry.code, dry.out]).toEqual([0, applied]);
    expect(existsSync(join(folder, "applied"))).toBe(false);
  });

  it("patches a Service that is there, and says why it is not served", async () => {
    service(programmed("False", "no pod matches"));
    const { code, err } = await postern("expose service/web -n shop --timeout 0");
    expect([code, err]).toEqual([
      1,
      expect.stringContaining("is not served after 0 s: no pod matches\nNext: postern status"),
    ]);
    const patched = readFileSync(join(folder, "asked"), "utf8");
    expect(patched).toContain(
      'patch -n shop service web --type merge -p {"spec":{"type":"LoadBalancer","loadBalancerClass":"postern.dev/edge"}}',
    );
    const missing = await postern("expose deployment/none -n shop");
    expect([missing.code, missing.err]).toEqual([3, expect.stringContaining('deployments.apps "none" not found')]);
    expect((await postern("expose nonsense")).code).toBe(2);
  });
});

it("hostnames: who serves one, in which shares, and who takes over", async () => {
  const { clusters } = await json<{ clusters: { name: string }[] }>("cluster list");
  const owner = clusters[0]?.name ?? "";
  const { hostname } = new URL(emulation.ready.urls[0] ?? "");
  await postern("cluster add spare");
  const set = await postern(`hostnames set ${hostname} ${owner}=3 then spare`);
  expect([set.code, set.out]).toEqual([
    0,
    expect.stringMatching(new RegExp(`${owner} +owner +0 +3\\n.* spare +1 +1\\n$`)),
  ]);
  expect((await json<{ members: object[] }>(`hostnames show ${hostname}`)).members).toHaveLength(2);
  expect((await postern(`hostnames set ${hostname} ${owner}`)).code).toBe(0);
  expect((await postern("hostnames show nobody.example.com")).code).toBe(3);
  expect((await postern(`hostnames set ${hostname} nowhere`)).code).not.toBe(0);
  expect((await postern("cluster remove spare --yes")).code).toBe(0);
});

describe("logs", () => {
  /** The lines that it prints, as they come; `stop` ends it as Ctrl-C does. */
  function logs(line: string): { next: () => Promise<string>; stop: () => Promise<string> } {
    const env = { ...process.env, POSTERN_CONFIG: join(folder, "config.yaml") };
    const child = spawn(process.execPath, [join(root, "cli/main.ts"), "logs", ...line.split(" ")], { env });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let told = "";
    child.stderr.on("data", (chunk: Buffer) => (told += chunk.toString()));
    return {
      next: async () => String((await lines.next()).value),
      stop: async () => {
        child.kill("SIGINT");
        await once(child, "close");
        return told;
      },
    };
  }

  it("shows each request as it is answered, with where it went", async () => {
    const { next, stop } = logs("home -o wide --service default/web");
    expect(await next()).toMatch(/^TIME +STATUS/);
    const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01" };
    const [url = ""] = emulation.ready.urls;
    const asking = dial(new URL("/a/b?token=secret", url), { headers });
    asking.end();
    const [{ statusCode }] = (await once(asking, "response")) as [IncomingMessage];
    expect(statusCode).toBe(200);
    const line = await next();
    expect(line).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} +200 +\d+ +GET +http:\S+\/a\/b +default\/web +node-[ab] +127\.\S+:\d+ +127\.0\.0\.1 /,
    );
    expect(line).toContain("0af7651916cd43dd8448eb211c80319c");
    expect(line).not.toContain("secret");
    expect(await stop()).toBe("");
  });

  it("gives programs a document a request, of those that were asked for alone", async () => {
    const { next, stop } = logs("home -o json --method post");
    const [url = ""] = emulation.ready.urls;
    // It says nothing until there is a request, so some are made until it is there.
    const asking = setInterval(() => dial(new URL(url), { method: "POST" }).end(), 500);
    try {
      const line = JSON.parse(await next()) as { method: string; tries: { endpoint: string }[] };
      expect(line).toMatchObject({ method: "POST", status: 200, tries: [{ outcome: "200" }] });
    } finally {
      clearInterval(asking);
    }
    expect(await stop()).toBe("");
  });

  it("says what is wrong with a question, and ends", async () => {
    const wrong = await postern("logs home --status slow");
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--status: must be a status such as 404")]);
    expect((await postern("logs nowhere")).code).toBe(3);
  });
});

it("doctor --from outside: one request, traced to the endpoint and back, and Kubernetes is not asked", async () => {
  rmSync(join(folder, "asked"), { force: true });
  const { code, out } = await postern("doctor default/web --cluster home --from outside");
  expect(out).toMatch(/^GET http:\S+ in \d+ ms, trace [0-9a-f]{32}:\n {2}/m);
  expect(out).toMatch(/^ {2}edge +\d+ ms {2}answered 200$/m);
  expect(out).toMatch(/^ {2}node +\d+ ms {2}node-[ab] by tunnel: 200$/m);
  expect(out).toMatch(/^ {2}endpoint +\d+ ms {2}127\.\S+:\d+ answered 200/m);
  expect(out).toContain("every hop handed on what it was given\n");
  expect([code, existsSync(join(folder, "asked"))]).toEqual([0, false]);
  const unknown = await json6("doctor default/none --cluster home --from outside");
  expect(unknown.findings.map(({ id }) => id)).toEqual(["service-missing"]);
});

it("version: of all parts, for whoever has a token", async () => {
  const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const found = await json<{ command: string; edge: string; agents: object[]; skew: string[] }>("version");
  expect(found).toMatchObject({ command: `postern ${own.version}`, edge: `postern-edge ${own.version}`, skew: [] });
  expect(found.agents).toHaveLength(emulation.ready.nodes.length);
  expect((await postern("version --client", { env: { POSTERN_CONFIG: "/nowhere" } })).out).toBe(
    `postern ${own.version}\n`,
  );
  const { statusCode, body } = await request(`${emulation.ready.api.url}/api/v1/version`);
  expect(statusCode).toBe(401);
  await body.dump();
});

it("a wrong command line is answered with what is right, and exit code 2", async () => {
  const { code, err } = await postern("stauts");
  expect([code, err]).toEqual([2, expect.stringMatching(/Did you mean status\?/)]);
  expect((await postern("--help")).code).toBe(0);
  for (const line of ["dev --help", "edge --help"]) {
    const { code: helped, out } = await postern(line);
    expect([helped, out]).toEqual([0, expect.stringContaining(`\n  postern ${line.split(" ")[0]} `)]);
    expect(out).not.toContain("npm ");
  }
  const passed = await postern("edge --port 0");
  expect([passed.code, passed.err]).toEqual([2, expect.stringMatching(/^--port must be .*\n\n.*postern edge/s)]);
  for (const line of [
    "deploy --help",
    "login --help",
    "join --help",
    "status --help",
    "cluster add --help",
    "hostnames set --help",
  ])
    expect((await postern(line)).out).toMatch(/Examples?:\n {2}\$ postern /);
});
