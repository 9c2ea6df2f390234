// What is handed on to whoever helps: everything that was asked, and no secret, wherever one was.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bundleOf } from "../../../cli/doctor/bundle.ts";
import { examine } from "../../../cli/doctor/examine.ts";
import { ask, event, factsOf, pod, probe, report, service, soundBut, connection, answering } from "./world.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Each is planted somewhere, in a place of its own. */
const SECRETS = {
  environment: "env-0f9a1c",
  argument: "argument-1b2c3d",
  annotation: "annotation-4e5f6a",
  lastApplied: "last-applied-7b8c9d",
  probeCommand: "probe-command-0a1b2c",
  eventMessage: "hunter2-event",
  waitingMessage: "hunter2-waiting",
  body: "hunter2-body",
  clusterToken: "pst_home_AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKKK",
  installCode: "psi_home_ZZZZBBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKKK",
  jwt: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg",
  logField: "hunter2-log-field",
  logText: "hunter2-log-text",
  logTrace: "hunter2-log-trace",
  url: "hunter2-url",
};

async function unpacked(): Promise<Readonly<Record<string, string>>> {
  const facts = factsOf({
    objects: soundBut(
      service(
        {},
        {
          annotations: {
            "example.com/note": SECRETS.annotation,
            "kubectl.kubernetes.io/last-applied-configuration": SECRETS.lastApplied,
          },
        },
      ),
      {
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: "s", namespace: "default" },
        data: { x: SECRETS.environment },
      },
      pod(1, {
        ready: false,
        container: {
          env: [{ name: "PASSWORD", value: SECRETS.environment }],
          args: ["--key", SECRETS.argument],
          command: [SECRETS.argument],
          readinessProbe: { exec: { command: ["check", SECRETS.probeCommand] } },
        },
        containerStatus: {
          state: { waiting: { reason: "CreateContainerConfigError", message: `password=${SECRETS.waitingMessage}` } },
        },
      }),
      event(
        "Pod",
        "web-1",
        "Unhealthy",
        `Readiness probe failed: Authorization: Bearer ${SECRETS.eventMessage} at http://u:${SECRETS.url}@db/ ${SECRETS.jwt}`,
      ),
    ),
    asks: [ask({ answer: { status: 500, text: `{"api_key": "${SECRETS.body}"}`, ms: 1 } })],
    edge: { refusals: [{ asked: "GET /install", why: `HTTP 403 ${SECRETS.installCode}`, status: 403 }] },
    probe: {
      ...probe(),
      connections: [
        answering("n1", {
          source: {
            ...report("n1").source,
            state: "troubled",
            problems: [{ where: "Service", message: SECRETS.clusterToken }],
          },
        }),
        connection("n2"),
        connection("n3"),
      ],
    },
  });
  const logs = [
    `[pod/postern-agent-n1/agent] {"level":40,"time":1,"msg":"dial failed: token=${SECRETS.logText}","secretField":"${SECRETS.logField}","node":"n1"}`,
    `[pod/postern-agent-n2/agent] Error: ${SECRETS.logTrace}`,
    "",
  ].join("\n");
  const file = join(folder, "bundle.tar.gz");
  writeFileSync(file, await bundleOf(facts, examine(facts), logs));
  const { status, stderr } = spawnSync("tar", ["-xzf", file, "-C", folder], { encoding: "utf8" });
  expect([status, stderr]).toEqual([0, ""]);
  const names = ["report.txt", "report.json", "facts.json", "agents.jsonl", "README.txt"];
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

it("holds what was asked of every node, and none of the planted secrets", async () => {
  const files = await unpacked();
  const whole = Object.values(files).join("\n");
  const leaked = Object.entries(SECRETS).filter(([, secret]) => whole.includes(secret));
  expect(leaked).toEqual([]);
  const facts = JSON.parse(files["facts.json"] ?? "") as {
    edge: { probe: { connections: { node: string }[] } };
    kube: { pods: object[] };
  };
  expect(facts.edge.probe.connections.map(({ node }) => node)).toEqual(["n1", "n2", "n3"]);
  expect(facts.kube.pods).toHaveLength(3);
  expect(files["report.txt"]).toMatch(
    /^error container-not-started {2}Service default\/web|warning container-not-started/m,
  );
  expect(files["agents.jsonl"]).toBe(
    '{"pod":"[pod/postern-agent-n1/agent]","level":40,"time":1,"msg":"dial failed: <redacted>","node":"n1"}\n',
  );
});
