// `postern doctor` on a real cluster: broken set-ups are named for what they are, each within ten seconds, and of sound ones nothing wrong
// is said. All are there at the same time. Faults of the whole cluster come last, one after the other, and are mended.
// What cannot be made here is in test/cli/doctor and test/e2e: the provider's quotas, certificates (this edge ends no TLS).
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GRACE_MS } from "../../../../cli/doctor/subject.ts";
import { bringUp } from "../../harness/cluster.ts";
import { run, succeeds } from "../../harness/command.ts";
import { agnhostImage } from "../../harness/images.ts";
import { tagImage } from "../../harness/node.ts";
import { inside, kubectl, nodes, outside } from "../../harness/places.ts";
import { pidOf, until } from "../../harness/processes.ts";
import { agentPids, agentPods, inSystem, rollout, setSettings } from "../../tools/agents.ts";
import { uncordon } from "../../tools/nodes.ts";
import { askDoctor, wrongsOf } from "./ask.ts";
import { service, web } from "./objects.ts";
import { broken, namespaceOf, type Setup, sound, TLS_SECRET } from "./setups.ts";

const all = [...broken, ...sound];
const inNamespace = (name: string, ...args: string[]): Promise<string> =>
  run([kubectl, "--namespace", namespaceOf(name), ...args]);
const key = (name: string): string => `${namespaceOf(name)}/web`;

async function apply(objects: readonly object[]): Promise<void> {
  await run([kubectl, "apply", "-f", "-"], {
    input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
  });
}

const placed = (name: string, objects: readonly object[]): object[] =>
  objects.map((object) => {
    const { metadata, ...rest } = object as { metadata: object };
    return { ...rest, metadata: { ...metadata, namespace: namespaceOf(name) } };
  });
const namespaceObject = (name: string): object => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: namespaceOf(name), labels: { "doctor.test/setup": "yes" } },
});

/** As a firewall or a network plugin does: what the node itself sends to these pods is lost. */
const TABLE = "doctor_test";
async function drop(node: string, addresses: readonly string[]): Promise<void> {
  const rule = `ip daddr { ${addresses.join(", ")} } drop`;
  const script = `table ip ${TABLE} {\n chain out {\n type filter hook output priority 0\n ${rule}\n }\n}\n`;
  await run([...inside(node), "nft", "-f", "-"], { input: script });
}
const undrop = (node: string): Promise<boolean> => succeeds([...inside(node), "nft", "delete", "table", "ip", TABLE]);

async function podAddresses(name: string): Promise<string[]> {
  const text = await inNamespace(name, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}");
  return text.split(/\s+/).filter((address) => address !== "");
}

/** A workload that is meant to become ready does; the others are in the state that the doctor is to name. */
async function settled({ name, objects }: Setup): Promise<void> {
  const hasPods = objects.some((object) => (object as { kind: string }).kind === "Deployment");
  const event = STUCK[name];
  if (event !== undefined) {
    await until(`${name}: ${event}`, async () => (await inNamespace(name, "get", "events")).includes(event), 120);
  } else if (hasPods) await inNamespace(name, "rollout", "status", "deployment/web", "--timeout=170s");
}
/** When the last of them was made, epoch ms. */
async function newestOf(kinds: string): Promise<number> {
  const text = await run([kubectl, "get", kinds, "-A", "-o", "jsonpath={.items[*].metadata.creationTimestamp}"]);
  return Math.max(...text.split(" ").map((time) => Date.parse(time)));
}
/** What Kubernetes says of pods that never become ready. */
const STUCK: Readonly<Record<string, string>> = {
  readiness: "the database is away",
  crash: "Back-off restarting failed container",
  image: "Failed to pull image",
  unschedulable: "FailedScheduling",
  secret: 'secret "not-there" not found',
  quota: "exceeded quota",
};

beforeAll(async () => {
  await bringUp(() => {});
  await apply(all.map(({ name }) => namespaceObject(name)));
  const [keyFile, certFile] = ["/tmp/doctor-test.key", "/tmp/doctor-test.crt"];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nobody"];
  await run(["openssl", ...request, "-keyout", keyFile, "-out", certFile]);
  await inNamespace("tls-server", "create", "secret", "tls", TLS_SECRET, `--key=${keyFile}`, `--cert=${certFile}`);
  await run(["rm", keyFile, certFile]);
  await apply(all.flatMap(({ name, objects }) => placed(name, objects)));
  await Promise.all(all.map(settled));
  // What is wrong with a younger Service or pod is only worth an info.
  const newest = await newestOf("services,pods");
  await until("nothing is new any more", () => Date.now() - newest >= GRACE_MS, 60);
  await inNamespace("held", "delete", "service", "web", "--wait=false");
  const lost = new Map<string, string[]>();
  for (const { name, dropOn = [] } of all)
    for (const node of dropOn) lost.set(node, [...(lost.get(node) ?? []), ...(await podAddresses(name))]);
  for (const [node, addresses] of lost) await drop(node, addresses);
}, 300_000);

afterAll(async () => {
  await Promise.all(nodes.map(({ netns }) => undrop(netns)));
  await succeeds([
    ...[kubectl, "--namespace", namespaceOf("held"), "patch", "service", "web"],
    ...["--type", "merge", "-p", '{"metadata":{"finalizers":null}}'],
  ]);
  await run([kubectl, "delete", "namespace", "-l", "doctor.test/setup=yes", "--wait=false"]);
});

it("has thirty broken set-ups and more", () => {
  expect(broken.length).toBeGreaterThanOrEqual(30);
});

describe("broken", () => {
  it.each(broken)("$name", async ({ name, finds, says, object }) => {
    const asked = await askDoctor(key(name));
    expect({ found: wrongsOf(asked), report: asked.report }).toMatchObject({ found: [...finds] });
    expect(asked.code).toBe(6);
    expect(asked.seconds).toBeLessThan(10);
    const own = asked.report.findings.filter(({ id }) => finds.includes(id));
    expect(own.map(({ seen }) => seen).join("\n")).toMatch(says ?? /\S/);
    expect(own.map((each) => each.object)).toContain(object ?? `Service ${key(name)}`);
  });
});

describe("nothing is wrong", () => {
  const isWell = async (name: string): Promise<void> => {
    const asked = await askDoctor(key(name));
    expect({ found: wrongsOf(asked), report: asked.report }).toMatchObject({ found: [] });
    expect(asked.code).toBe(0);
    expect(asked.seconds).toBeLessThan(10);
  };

  it.each(sound)("$name", async ({ name }) => isWell(name));

  it("with a cordoned node", async () => {
    await run([kubectl, "cordon", "n2"]);
    try {
      await isWell("healthy");
    } finally {
      await uncordon("n2");
    }
  });

  it("with what was made this moment", async () => {
    await apply([namespaceObject("fresh"), ...placed("fresh", [web(), service()])]);
    await isWell("fresh");
  });
});

describe("asked from here", () => {
  it("a name that this machine's DNS does not know", async () => {
    const asked = await askDoctor(key("healthy"), { resolver: "127.0.0.1" });
    expect(wrongsOf(asked)).toEqual(["dns-missing"]);
    expect(asked.seconds).toBeLessThan(10);
  });

  it("a token that does not count", async () => {
    const token = `pst_home_${"A".repeat(43)}`;
    expect(wrongsOf(await askDoctor(key("healthy"), { environment: { POSTERN_TOKEN: token } }))).toEqual([
      "token-refused",
    ]);
  });

  it("an edge that is not there", async () => {
    const asked = await askDoctor(key("healthy"), { environment: { POSTERN_EDGE: "http://10.90.0.1:9" } });
    expect(wrongsOf(asked)).toEqual(["edge-unreachable"]);
  });

  it("rights that are missing are a finding, and the rest is examined", async () => {
    const asked = await askDoctor(key("source-range"), { user: "proxy" });
    expect(wrongsOf(asked)).toEqual(["rights-missing", "source-refuses-you"]);
    const unread = asked.report.findings.filter(({ id }) => id === "rights-missing").map(({ object }) => object);
    expect(unread).toContain("Kubernetes pods");
  });
});

describe("faults of the whole cluster", () => {
  it("an agent of one node of three that lives and says nothing", async () => {
    const [, , third] = nodes;
    const pids = third === undefined ? [] : await agentPids(third);
    expect(pids).not.toEqual([]);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      const asked = await askDoctor(key("healthy"));
      expect(wrongsOf(asked)).toEqual(["tunnel-silent"]);
      expect(asked.report.findings.map(({ object }) => object)).toContain("Node n3");
      expect(asked.seconds).toBeLessThan(10);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    await until("n3 answers again", async () => wrongsOf(await askDoctor(key("healthy"))).length === 0);
  });

  it("a kube-proxy of one node that stands still", async () => {
    const pid = pidOf("kube-proxy-n2");
    if (pid === undefined) throw new Error("kube-proxy does not run on n2");
    // A first try's is known to kube-proxy.
    await run([kubectl, "delete", "namespace", namespaceOf("later"), "--ignore-not-found"]);
    process.kill(pid, "SIGSTOP");
    try {
      await apply([namespaceObject("later"), ...placed("later", [web(), service()])]);
      await inNamespace("later", "rollout", "status", "deployment/web", "--timeout=120s");
      let asked = await askDoctor(key("later"));
      // Of a Service that is new nothing is said yet.
      await until("it is not new any more", async () =>
        wrongsOf((asked = await askDoctor(key("later")))).includes("nodeport-silent"),
      );
      expect(wrongsOf(asked)).toEqual(["nodeport-silent"]);
      expect(asked.report.findings.map(({ object }) => object)).toContain("Node n2");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until("n2 follows again", async () => wrongsOf(await askDoctor(key("later"))).length === 0);
  });

  it("a table of connections that is nearly full on one node", async () => {
    const [node] = nodes;
    if (node === undefined) throw new Error("no nodes");
    const max = Number(await run([...inside(node.netns), "sysctl", "-n", "net.netfilter.nf_conntrack_max"]));
    expect(max).toBeGreaterThan(0);
    try {
      // Below what the doctor calls an error: the node has room for what it does.
      const flows = new URL("flows.ts", import.meta.url).pathname;
      const count = String(Math.floor(max * 0.85));
      await run([...inside(node.netns), process.execPath, flows, outside.address, count]);
      const asked = await askDoctor(key("healthy"));
      expect(wrongsOf(asked)).toEqual(["conntrack-full"]);
      expect(asked.report.findings).toContainEqual(
        expect.objectContaining({
          object: "Node n1",
          severity: "warning",
          seen: expect.stringMatching(/^\d+ of \d+ connections \(8[56] %\)$/),
        }),
      );
      expect(asked.seconds).toBeLessThan(10);
    } finally {
      const away = ["conntrack", "-D", "-p", "udp", "--dst", outside.address];
      await succeeds([...inside(node.netns), "sh", "-c", `${away.join(" ")} >/dev/null`]);
    }
    await until("the table has room", async () => wrongsOf(await askDoctor(key("healthy"))).length === 0);
  });

  it("a kube-proxy of one node that is newer than the API server", async () => {
    const [, node] = nodes;
    if (node === undefined) throw new Error("no nodes");
    const image = "localhost/kube-proxy:v1.99.0";
    await tagImage(node, agnhostImage, image);
    const labels = { "k8s-app": "kube-proxy" };
    const args = ["netexec", "--http-port=18080"];
    const containers = [{ name: "kube-proxy", image, imagePullPolicy: "Never", args }];
    await apply([
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "kube-proxy-test", namespace: "kube-system", labels },
        spec: { nodeName: node.name, terminationGracePeriodSeconds: 1, containers },
      },
    ]);
    const pod = ["--namespace", "kube-system", "pod/kube-proxy-test"];
    try {
      await run([kubectl, "wait", "--for=condition=Ready", "--timeout=60s", ...pod]);
      const asked = await askDoctor(key("healthy"));
      expect(wrongsOf(asked)).toEqual(["kube-proxy-version"]);
      expect(asked.report.findings).toContainEqual(
        expect.objectContaining({
          object: "Node n2",
          seen: expect.stringMatching(/^kube-proxy-test is v1\.99\.0, newer than the API server, v1\.34\.\d+$/),
        }),
      );
    } finally {
      await run([kubectl, "delete", ...pod]);
    }
  });

  it("every node is excluded from load balancers", async () => {
    const label = "node.kubernetes.io/exclude-from-external-load-balancers";
    await run([kubectl, "label", "nodes", "--all", `${label}=`]);
    try {
      await expect
        .poll(async () => wrongsOf(await askDoctor(key("healthy"))), { timeout: 30_000 })
        .toEqual(["no-eligible-node"]);
    } finally {
      await run([kubectl, "label", "nodes", "--all", `${label}-`]);
    }
  });
});

const daemonSet = "daemonset/postern-agent";
const nodeOptions = 'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="NODE_OPTIONS")].value}';
/** Nodes share this machine's clock, so the agent of one is started with another, by an option of Node.js. */
function clockOf(node: string, aheadMs: number): string {
  const script = `
    const Real = Date;
    const now = () => Real.now() + ${aheadMs};
    if (process.env.POSTERN_NODE === "${node}")
      globalThis.Date = class extends Real {
        constructor(...given) { super(...(given.length === 0 ? [now()] : given)); }
        static now() { return now(); }
      };`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

describe("agents that take no Service without a class, and one of them with a clock that is wrong", () => {
  const classless = service({ loadBalancerClass: undefined });
  const meantClassless = service({ loadBalancerClass: undefined }, { "postern.dev/transport": "tunnel" });
  let options = "";
  beforeAll(async () => {
    options = await inSystem("get", daemonSet, "-o", nodeOptions);
    await setSettings({ POSTERN_DEFAULT_CLASS: null });
    await inSystem("set", "env", daemonSet, `NODE_OPTIONS=${options} ${clockOf("n2", -120_000)}`);
    await rollout();
    await apply([namespaceObject("classless"), ...placed("classless", [web(), classless])]);
    await apply([namespaceObject("taken"), ...placed("taken", [web(), classless])]);
    await apply([namespaceObject("taken-meant"), ...placed("taken-meant", [web(), meantClassless])]);
    const status = JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: "192.0.2.7" }] } } });
    for (const name of ["taken", "taken-meant"])
      await inNamespace(
        ...[name, "patch", "service", "web", "--subresource=status", "--field-manager=other-balancer"],
        ...["-p", status],
      );
  });
  afterAll(async () => {
    await inSystem("set", "env", daemonSet, `NODE_OPTIONS=${options}`);
    await setSettings({ POSTERN_DEFAULT_CLASS: "true" });
    await rollout();
  });

  it("a clock that is two minutes late on one node of three", async () => {
    await until("the other agents are gone", async () => (await agentPods()).length === nodes.length);
    const asked = await askDoctor(key("healthy"));
    expect(wrongsOf(asked)).toEqual(["clock-skew"]);
    expect(asked.report.findings).toContainEqual(
      expect.objectContaining({
        object: "Node n2",
        severity: "error",
        seen: expect.stringMatching(/^1(19|20)\.\d s behind the edge's clock$/),
      }),
    );
  });

  it("a Service without a class that nobody takes", async () => {
    let asked = await askDoctor(key("classless"));
    await until("it is not new any more", async () =>
      wrongsOf((asked = await askDoctor(key("classless")))).includes("class-missing"),
    );
    expect(wrongsOf(asked)).toEqual(["class-missing", "clock-skew"]);
  });

  it.each([
    ["another controller has taken, which is its good right", "taken", ["clock-skew"], "info"],
    [
      "another controller has taken, though its annotations mean Postern",
      "taken-meant",
      ["class-foreign", "clock-skew"],
      "error",
    ],
  ] as const)("a Service without a class that %s", async (_, name, finds, severity) => {
    let asked = await askDoctor(key(name));
    await until("it is not new any more", async () => {
      asked = await askDoctor(key(name));
      return wrongsOf(asked).length === finds.length;
    });
    expect(wrongsOf(asked)).toEqual(finds);
    expect(asked.report.findings).toContainEqual(
      expect.objectContaining({
        id: "class-foreign",
        severity,
        seen: expect.stringMatching(/^no class, and other-balancer/),
      }),
    );
  });
});
