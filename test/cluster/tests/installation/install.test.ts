// What is installed: that it may do what it does and nothing more, and that a stolen token leads nowhere else.
// upgrade.test.ts has what comes later, removal.test.ts the end of it.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentPids, agentPods, inSystem, restart, rollout } from "../../tools/agents.ts";
import { run, succeeds } from "../../harness/command.ts";
import { edgeApi } from "../../harness/edge.ts";
import { apiServer, auditLog, control, edge, inside, kubectl, nodes } from "../../harness/places.ts";
import { until } from "../../harness/processes.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
beforeAll(async () => {
  test = await TestNamespace.create();
  await test.apply(
    webService("web", { type: "LoadBalancer", ports: [{ port: 80, targetPort: 8080 }] }),
    webService("plain", {}),
    webService("theirs", { type: "LoadBalancer", loadBalancerClass: "example.com/other" }),
  );
});
afterAll(async () => test[Symbol.asyncDispose]());

describe("the agent's process", () => {
  it.each(nodes)("on $name: no root, no capability, nothing to write, system calls filtered", async (node) => {
    const [pid = 0, ...more] = await agentPids(node);
    expect(more).toEqual([]);
    const status = Object.fromEntries(
      readFileSync(`/proc/${pid}/status`, "utf8")
        .split("\n")
        .map((line) => line.split(":\t"))
        .map(([field = "", value = ""]) => [field, value]),
    );
    expect(status).toMatchObject({
      Uid: "65532\t65532\t65532\t65532",
      Gid: "65532\t65532\t65532\t65532",
      ...Object.fromEntries(["Inh", "Prm", "Eff", "Bnd", "Amb"].map((set) => [`Cap${set}`, "0".repeat(16)])),
      NoNewPrivs: "1",
      Seccomp: "2",
    });
    // "1135 1028 0:290 / / ro,relatime - overlay …"
    const [, options] = / \/ \/ (\S+) /.exec(readFileSync(`/proc/${pid}/mountinfo`, "utf8")) ?? [];
    expect(options).toMatch(/^ro,/);
  });
});

describe("rights", () => {
  /**
   * What the agents' account was refused, by roles, by the admission policy or for what it sent: `verb URI status`. Not counted:
   * 404 (it asks whether something is there), 409 (another wrote first) and 410 (a watch begins anew).
   */
  interface Audited {
    readonly verb: string;
    readonly requestURI: string;
    readonly responseStatus?: { readonly code?: number; readonly message?: string };
  }
  const refusals = (): string[] =>
    readFileSync(auditLog, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Audited)
      .filter(({ responseStatus: { code = 0 } = {} }) => code >= 400 && ![404, 409, 410].includes(code))
      // Of a test before this one: nobody may make an Event in a namespace that is on its way out, and the agent cannot know.
      .filter(({ responseStatus: { message = "" } = {} }) => !message.endsWith("because it is being terminated"))
      .map(({ verb, requestURI, responseStatus }) => `${verb} ${requestURI} ${responseStatus?.code}`);
  /** A token that is not taken has no account. */
  const failedLogins = async (): Promise<readonly string[]> =>
    (await run([kubectl, "get", "--raw", "/metrics"])).match(/^authentication_attempts\{result="(?!success).*$/gm) ??
    [];

  it("the API server refuses nothing that the agents do", async () => {
    const before = { refusals: refusals(), failedLogins: await failedLogins() };
    const ports = ["TCP", "UDP"].map((protocol) => ({ name: protocol.toLowerCase(), port: 80, protocol }));
    await test.apply(
      webService("exposed", { clusterIP: "None", ports: [{ port: 8080 }] }),
      webService("short", { type: "LoadBalancer", loadBalancerClass: "postern.dev/edge" }),
      webService("mixed", { type: "LoadBalancer", ports }),
    );
    await test.kubectl("annotate", "service/exposed", "postern.dev/expose=true");
    for (const name of ["exposed", "short", "mixed"])
      await test.kubectl("wait", "--for=condition=postern.dev/Programmed", "--timeout=30s", `service/${name}`);
    await test.kubectl("annotate", "service/exposed", "postern.dev/expose-");
    await test.kubectl("patch", "service/short", "-p", '{"spec":{"type":"ClusterIP","loadBalancerClass":null}}');
    const left = () =>
      test.kubectl("get", "service/exposed", "service/short", "-o", "jsonpath={.items[*].status.conditions}");
    await until("marks are gone", async () => (await left()) === "");
    await test.kubectl("delete", "service/mixed", "service/short", "--timeout=30s");
    // The Lease changes hands, and the leader asks whether it is uninstalled.
    const led = await leader();
    await restart();
    await rollout();
    await until("another leader", async () => !["", led].includes(await leader()));
    await until("the others are gone", async () => (await agentPods()).every(({ leaving }) => !leaving));
    expect({ refusals: refusals(), failedLogins: await failedLogins() }).toEqual(before);
    expect(await test.kubectl("get", "events", "-o", "jsonpath={.items[*].source.component}")).toContain("postern");
    expect(await inSystem("logs", "-l", "app.kubernetes.io/name=postern-agent", "--tail=-1")).not.toMatch(
      /forbidden|"status":40[13]/i,
    );
  });

  const leader = () => inSystem("get", "lease/postern-leader", "-o", "jsonpath={.spec.holderIdentity}");
  const ours = "service.kubernetes.io/load-balancer-cleanup";
  const condition = (type: string) => ({
    type,
    status: "True",
    reason: "Stolen",
    message: "",
    lastTransitionTime: "2026-01-01T00:00:00Z",
  });
  const status = (name: string) => `/api/v1/namespaces/${test.name}/services/${name}/status`;
  const service = (name: string) => `/api/v1/namespaces/${test.name}/services/${name}`;

  it.each<[what: string, method: string, path: () => string, body: object | undefined, refusal: RegExp]>([
    ["a spec", "PATCH", () => service("web"), { spec: { externalIPs: ["192.0.2.1"] } }, /cannot patch resource/],
    ["a Secret", "GET", () => "/api/v1/secrets", undefined, /cannot list resource/],
    ["its own Secret", "GET", () => "/api/v1/namespaces/postern-system/secrets/postern-agent", undefined, /cannot get/],
    ["pods", "GET", () => "/api/v1/pods", undefined, /cannot list resource/],
    ["a Node", "PATCH", () => "/api/v1/nodes/n1", { metadata: { labels: { a: "b" } } }, /cannot patch resource/],
    [
      "other Leases",
      "GET",
      () => "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
      undefined,
      /cannot list/,
    ],
    ["other namespaces", "GET", () => "/api/v1/namespaces/kube-system", undefined, /cannot get resource/],
    ["a label", "PATCH", () => status("web"), { metadata: { labels: { app: "x" } } }, /may not change labels/],
    ["a finalizer", "PATCH", () => status("web"), { metadata: { finalizers: ["a.example/b"] } }, /finalizer/],
    [
      "an IP address",
      "PATCH",
      () => status("web"),
      { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } },
      /no IP/,
    ],
    [
      "a condition",
      "PATCH",
      () => status("web"),
      { status: { conditions: [condition("Ready")] } },
      /may change conditions/,
    ],
    ["another class", "PATCH", () => status("theirs"), { metadata: { finalizers: [ours] } }, /of its own class/],
    ["a plain Service", "PATCH", () => status("plain"), { metadata: { finalizers: [ours] } }, /of its own class/],
  ])("a stolen token is refused %s", async (_what, method, path, body, refusal) => {
    const token = (await inSystem("create", "token", "postern-agent")).trim();
    const answer = await run(
      [
        ...[...inside(control.netns), "curl", "-sS", "--insecure", "-X", method, "-H", "@-"],
        ...["-H", "content-type: application/strategic-merge-patch+json"],
        ...(body === undefined ? [] : ["--data", JSON.stringify(body)]),
        apiServer + path(),
      ],
      { input: `authorization: Bearer ${token}\n` },
    );
    expect(JSON.parse(answer)).toMatchObject({
      kind: "Status",
      status: "Failure",
      message: expect.stringMatching(refusal),
    });
  });
});

describe("overlays", () => {
  it.each(["nftables", "iptables", "ipvs"])("%s is accepted by the API server", async (overlay) => {
    const folder = new URL(`../../../../agent/manifests/overlays/${overlay}`, import.meta.url).pathname;
    const built = await run([kubectl, "kustomize", folder]);
    const applied = await run([kubectl, "apply", "--dry-run=server", "-f", "-"], { input: built });
    expect(applied).toMatch(/daemonset.apps\/postern-agent \w+ \(server dry run\)/);
  });
});

describe("an install code", () => {
  it("is good for a few uses, and says in words when it is not", async () => {
    const { url, uses } = (await edgeApi("POST", `/clusters/${edge.cluster}/install-code`, {})) as {
      url: string;
      uses: number;
    };
    const get = (...options: string[]) => [...inside(control.netns), "curl", "-sS", ...options, url];
    for (let use = 0; use < uses; use++)
      expect(await run([kubectl, "apply", "--dry-run=server", "-f", url])).toContain("daemonset.apps/postern-agent");
    expect(JSON.parse(await run(get()))).toMatchObject({
      status: 404,
      reason: "unknown-install-code",
      detail: expect.stringContaining("used up"),
      remedy: expect.stringContaining("install-code"),
    });
    expect(await succeeds([kubectl, "apply", "--dry-run=server", "-f", url])).toBe(false);
  });
});
