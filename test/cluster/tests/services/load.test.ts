// What must lose no request: rollouts, drains, upgrades, deaths and restarts, each under constant load through the edge.
// Requests are idempotent and pods finish what they accepted (web.ts). Both transports where the way of a packet matters.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentIsReady, applyManifest } from "../../harness/agent.ts";
import { agentPids, type AgentPod, agentPods, inSystem, limitTo, restart } from "../../tools/agents.ts";
import { ensureBinaries } from "../../harness/binaries.ts";
import { run, succeeds } from "../../harness/command.ts";
import { ensureControlPlane } from "../../harness/control.ts";
import { handedOut } from "../../harness/edge.ts";
import { hostOf } from "../../tools/exposed.ts";
import { handOutAnother } from "../../tools/hand-out.ts";
import { type LoadReport, served, underLoad } from "../../tools/load.ts";
import { uncordon } from "../../tools/nodes.ts";
import { control, inside, kubectl, nodes } from "../../harness/places.ts";
import { endProcess, pidOf, pidsIn, until } from "../../harness/processes.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.apply({
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "web" },
    spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } },
  });
  await test.deployWeb({ replicas: 3 });
  for (const transport of transports) await expose(transport);
});
afterAll(async () => test[Symbol.asyncDispose]());

const transports = ["tunnel", "direct"] as const;
type Transport = (typeof transports)[number];

async function expose(transport: Transport): Promise<void> {
  await test.apply({
    ...webService(transport, { type: "LoadBalancer", ports: [{ name: "http", port: 80, targetPort: 8080 }] }),
    metadata: { name: transport, annotations: { "postern.dev/transport": transport } },
  });
  await served(hostOf(test, transport));
}

async function during(transport: Transport, what: string, change: () => Promise<unknown>): Promise<LoadReport> {
  const report = await underLoad({ host: hostOf(test, transport) }, change);
  const { total, failed, latency } = report;
  console.log(
    `${transport}, ${what}: ${failed} of ${total} failed; ms p50 ${latency.p50} p99 ${latency.p99} max ${latency.max}`,
  );
  expect(report).toMatchObject({ failed: 0, failures: [] });
  // A tenth of a second of load at the least.
  expect(report.during).toBeGreaterThan(10);
  return report;
}

/** Other than the pod of `before`. Nobody leads for a moment after an upgrade: a leader that ends lets go of the Lease. */
async function leadingPod(before?: string): Promise<AgentPod> {
  const found: AgentPod[] = [];
  await until("a leader", async () => {
    const holder = await inSystem("get", "lease", "postern-leader", "-o", "jsonpath={.spec.holderIdentity}");
    found.push(...(await agentPods()).filter(({ uid, leaving }) => uid === holder && uid !== before && !leaving));
    return found.length > 0;
  });
  const [pod] = found;
  if (pod === undefined) throw new Error("nobody leads");
  return pod;
}

describe.each(transports)("%s loses nothing", (transport) => {
  it("while a rollout replaces every pod", async () => {
    const { servers } = await during(transport, "rollout", () => test.deployWeb({ replicas: 3, version: transport }));
    // Direct: connections that the edge keeps stay with their pod, so few pods may see all requests; but none outlives it.
    expect(Object.keys(servers).length).toBeGreaterThanOrEqual(transport === "tunnel" ? 4 : 2);
  });

  it("while a node is drained", async () => {
    try {
      await during(transport, "drain", async () => {
        await run([kubectl, "drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"]);
        await test.kubectl("rollout", "status", "--timeout=60s", "deployment/web");
      });
    } finally {
      await uncordon("n2");
    }
  });

  it("while the agent of a node is killed", async () => {
    await during(transport, "agent killed", async () => {
      await kill("n1");
      await untilAgents(3);
    });
  });

  it("while the agents are upgraded to what a newer edge hands out, what is under way included", async () => {
    const before = handedOut().main;
    const undo = handOutAnother((main) => `${main}\n// a newer agent, by ${transport}\n`);
    try {
      await during(transport, "agents' rolling update", async () => {
        const slow = [
          "curl",
          "-sS",
          "--fail",
          "-H",
          `Host: ${hostOf(test, transport)}`,
          `http://${control.address}/shell?shellCommand=sleep+12%3Becho+done`,
        ];
        const answers = Promise.all(Array.from({ length: 6 }, () => run([...inside(control.netns), ...slow])));
        await applyManifest();
        await agentIsReady();
        expect(await answers).toEqual(Array(6).fill(expect.stringContaining("done")));
      });
      const args = await inSystem("get", "pods", "-o", "jsonpath={.items[*].spec.initContainers[0].args}");
      expect(args).toContain(handedOut().main);
      expect(args).not.toContain(before);
    } finally {
      undo();
      await applyManifest();
      await agentIsReady();
    }
    // Two rollouts.
  }, 400_000);

  it("while the leader is killed, and a change finds the next one", async () => {
    await during(transport, "leader killed", async () => {
      const pod = await leadingPod();
      // Its pod goes: the next one has another UID, and must wait until the Lease expires.
      await kill(pod.node);
      await inSystem("delete", `pod/${pod.name}`, "--force", "--grace-period=0");
      await leadingPod(pod.uid);
      await test.deployWeb({ replicas: 3, version: `${transport}-next` });
    });
  });

  it("while the API server is restarted", async () => {
    await during(transport, "API server restarted", async () => {
      await endProcess("kube-apiserver");
      await ensureControlPlane(await ensureBinaries(() => {}));
      if (transport === "direct") await kubeProxiesFollow();
      await test.deployWeb({ replicas: 3, version: `${transport}-after` });
    });
    await kubeProxiesFollow();
    // Each of Kubernetes' parts asks it again after up to a minute.
  }, 400_000);

  it("while workerd is killed", async () => {
    await during(transport, "workerd killed", async () => {
      await anotherWorkerd((pid) => process.kill(pid, "SIGKILL"));
      await served(hostOf(test, transport));
    });
  });

  it("while the edge is upgraded", async () => {
    await during(transport, "edge restarted", async () => {
      await anotherWorkerd(() => process.kill(pidOf("edge") ?? 0, "SIGHUP"));
      await served(hostOf(test, transport));
    });
  });

  it("while its ports, labels and policy are changed", async () => {
    await during(transport, "mutations", async () => {
      await test.kubectl("annotate", "--overwrite", `service/${transport}`, "touched=yes");
      await test.kubectl("label", "--overwrite", `service/${transport}`, "touched=yes");
      // kube-proxy itself refuses connections between a port's new name and the slice that follows it.
      const name = transport === "tunnel" ? "renamed" : "http";
      await patch(transport, { spec: { ports: [{ name, port: 80, targetPort: 8080 }] } });
      await served(hostOf(test, transport));
      const more = { name: "more", port: 81, targetPort: 8080 };
      await patch(transport, { spec: { ports: [{ name, port: 80, targetPort: 8080 }, more] } });
      await served(hostOf(test, transport));
      await patch(transport, { spec: { externalTrafficPolicy: "Local" } });
      await served(hostOf(test, transport));
      await patch(transport, { spec: { externalTrafficPolicy: "Cluster" } });
      await served(hostOf(test, transport));
    });
  });
});

// Direct: kube-proxy keeps a connection with its pod, and its requests wait for the node.
it("tunnel loses nothing while a node is cut off, and waits for nothing of it", async () => {
  const link = (state: "up" | "down") => run([...inside(control.netns), "ip", "link", "set", "n2", state]);
  await test.deployWeb({ replicas: 6, version: "everywhere", onEveryNode: true });
  expect((await test.pods()).map(({ node }) => node)).toContain("n2");
  try {
    // It stays away until every request has its answer.
    await during("tunnel", "node cut off", async () => {
      await link("down");
      await served(hostOf(test, "tunnel"));
    });
  } finally {
    await link("up");
  }
  await untilAgents(3);
});

describe("on one node", () => {
  it("an upgrade of the only agent loses nothing", async () => {
    try {
      await limitTo("n1");
      await untilAgents(1);
      await during("tunnel", "rolling update of the only agent", async () => {
        await restart();
        await agentIsReady();
      });
    } finally {
      await limitTo(undefined);
      await untilAgents(3);
    }
  });
});

it("a Service that is deleted and created again is served at once", async () => {
  await test.kubectl("delete", "service/tunnel");
  await expose("tunnel");
  await during("tunnel", "after its return", async () => {
    await test.kubectl("get", "service/tunnel");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
});

async function patch(service: string, change: object): Promise<void> {
  await test.kubectl("patch", `service/${service}`, "-p", JSON.stringify(change));
}

/**
 * kube-proxy on every node does what is new. After an API server was away it hears of nothing for up to a minute, and NodePorts of
 * that node lead to pods that are gone: what is lost then, by direct, is no agent's or edge's fault.
 */
async function kubeProxiesFollow(): Promise<void> {
  const name = "follows";
  await test.apply(webService(name, { type: "NodePort" }));
  const port = await test.field(`service/${name}`, ".spec.ports[0].nodePort");
  for (const node of nodes) {
    const ask = ["curl", "-sf", "-o", "/dev/null", "--max-time", "2", `http://${node.address}:${port}/hostname`];
    await until(`kube-proxy on ${node.name} follows`, () => succeeds([...inside(control.netns), ...ask]), 120);
  }
  await test.kubectl("delete", `service/${name}`);
}

async function untilAgents(count: number): Promise<void> {
  await agentIsReady();
  await until(
    `${count} agents`,
    async () => (await agentPods()).filter(({ ready, leaving }) => ready && !leaving).length === count,
  );
}

/** `end` ends the one that serves, or has it ended. */
async function anotherWorkerd(end: (pid: number) => unknown): Promise<void> {
  const [pid = 0] = await pidsIn(control.netns, "serve");
  expect(pid).toBeGreaterThan(0);
  end(pid);
  await until("workerd again", async () => {
    const [next] = await pidsIn(control.netns, "serve");
    return next !== undefined && next !== pid;
  });
}

async function kill(node: string): Promise<void> {
  for (const place of nodes.filter(({ name }) => name === node))
    for (const pid of await agentPids(place)) process.kill(pid, "SIGKILL");
}
