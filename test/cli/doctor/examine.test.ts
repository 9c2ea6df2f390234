// Each reason that the doctor can give: a world in which it is so, and one as like it as can be in which nothing is wrong.
import { describe, expect, it } from "vitest";
import { checkIds } from "../../../cli/doctor/checks.ts";
import { examine } from "../../../cli/doctor/examine.ts";
import type { Used } from "../../../cli/doctor/free-plan.ts";
import { condition } from "../../../src/shared/model/conditions.ts";
import {
  agentPod,
  answering,
  ask,
  type Change,
  connection,
  deployment,
  diagnose,
  event,
  factsOf,
  type Json,
  kubeProxyPod,
  node,
  nodeNames,
  NOW,
  pod,
  probe,
  report,
  service,
  slice,
  soundBut,
  soundObjects,
  wrongs,
} from "./world.ts";

interface Row {
  readonly broken: Change;
  readonly sound: Change;
  /** What is seen. */
  readonly says: RegExp;
  /** "error" where it is left out. */
  readonly severity?: "warning";
  /** What is found besides. */
  readonly also?: readonly string[];
  readonly object?: string;
  readonly mend?: RegExp;
}

const none: Change = {};
const withService = (spec: object, metadata: object = {}, status: object = {}): Change => ({
  objects: soundBut(service({ ...spec }, { ...metadata }, { ...status })),
});
const saying = (...found: Parameters<typeof condition>): Change => ({
  conditions: { "default/web": [condition("Programmed", "Programmed", "Served."), condition(...found)] },
});
const unready = (container: object, status: object = {}) =>
  [1, 2, 3].map((number) => pod(number, { ready: false, containerStatus: { ...container }, status: { ...status } }));
const noneReady = (...objects: Json[]): Change => ({
  objects: soundBut(slice([false, false, false]), ...objects),
  probe: notReady,
});
const notReady = {
  services: [
    {
      ...(probe().services[0] as NonNullable<ReturnType<typeof probe>["services"][0]>),
      endpoints: { known: 3, ready: 0, serving: 0, terminating: 0 },
    },
  ],
};
const selecting = (selector: Record<string, string>, ...objects: Json[]): Change => ({
  objects: [...soundBut(service({ selector }), ...objects).filter((each) => each["kind"] !== "EndpointSlice")],
  probe: notReady,
});
const dialled = (
  dials: Readonly<Record<string, Readonly<Record<number, string>>>>,
  objects?: Change["objects"],
): Change => ({
  probe: { connections: nodeNames.map((name) => answering(name, {}, dials[name])) },
  ...(objects === undefined ? {} : { objects }),
});
const everyNode = (dials: Readonly<Record<number, string>>) => ({ n1: dials, n2: dials, n3: dials });
const policy = (spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "closed", namespace: "default" },
  spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"], ...spec },
});
const quota = (used: Partial<Used>, edge: Change["edge"] = {}): Change => ({
  edge: { quota: { account: "a1", resetsAt: Date.UTC(2026, 10, 28), used: { ...nothingUsed, ...used } }, ...edge },
});
const nothingUsed: Used = { workerRequests: 0, objectRequests: 0, objectTime: 0, rowsRead: 0, rowsWritten: 0 };
const timeouts = { 1: "timeout", 2: "timeout", 3: "timeout" };
const daysFromNow = (days: number): number => NOW + days * 86_400_000;

const rows: Readonly<Record<string, Row>> = {
  // Asking
  "rights-missing": {
    severity: "warning",
    broken: {
      kube: { unread: [{ what: "networkpolicies", why: 'networkpolicies is forbidden: User "x" cannot list' }] },
    },
    sound: { kube: { unread: [] } },
    says: /forbidden/,
    mend: /kubectl auth can-i list networkpolicies/,
  },
  "service-missing": {
    broken: { objects: soundObjects().filter((each) => each["kind"] !== "Service") },
    sound: none,
    says: /not found/,
  },

  // Edge
  "edge-unreachable": {
    broken: { edge: { refusals: [{ asked: "GET /api/v1/version", why: "connect ECONNREFUSED" }] } },
    sound: { edge: { refusals: [] } },
    says: /ECONNREFUSED/,
    mend: /curl -i https:\/\/postern.test\/healthz/,
  },
  "token-refused": {
    broken: {
      edge: { refusals: [{ asked: "GET /api/v1/clusters/home/table", why: "HTTP 401: revoked", status: 401 }] },
    },
    sound: none,
    says: /401: revoked/,
    mend: /postern login/,
  },
  "cluster-unknown": {
    broken: { edge: { refusals: [{ asked: "GET /api/v1/clusters/home/table", why: "HTTP 404", status: 404 }] } },
    sound: none,
    says: /404/,
  },
  "version-skew": {
    severity: "warning",
    object: "Node n2",
    broken: {
      probe: {
        connections: [connection("n1"), connection("n2", { software: "postern-agent 0.0.9" }), connection("n3")],
      },
    },
    sound: none,
    says: /its agent is 0.0.9, the edge is 0.1.0/,
  },
  "quota-near": {
    severity: "warning",
    broken: quota({ objectTime: 11_059 }),
    sound: quota({ workerRequests: 79_999, objectTime: 10_399, rowsRead: 3_999_999 }),
    says: /^11,059 of 13,000 GB-s of Durable Object time \(85 %\); all count from zero again at 2026-11-28T00:00:00.000Z$/,
  },
  "quota-exhausted": {
    broken: quota({ rowsWritten: 100_000 }),
    // What the edge could not have answered on the free plan.
    sound: quota({ workerRequests: 250_000, rowsWritten: 100_000 }),
    says: /^100,000 of 100,000 rows written by Durable Objects \(100 %\)/,
    mend: /paid plan/,
  },

  // Names
  "dns-missing": {
    broken: { asks: [ask({ addresses: [], failed: "getaddrinfo ENOTFOUND web.edge.test" })] },
    sound: none,
    says: /ENOTFOUND/,
    mend: /\*\.edge\.test/,
  },
  "dns-elsewhere": {
    broken: { asks: [ask({ isPostern: false })] },
    sound: { asks: [ask({ answer: { status: 404, text: "my own page", ms: 1 } })] },
    says: /203.0.113.1 is answered with 200 by no Postern edge/,
  },
  "listener-closed": {
    broken: {
      asks: [
        {
          service: "default/web",
          hostname: "web.edge.test",
          port: 80,
          tls: false,
          addresses: ["203.0.113.1"],
          failed: "ECONNREFUSED",
        },
      ],
    },
    sound: none,
    says: /ECONNREFUSED/,
  },
  "certificate-invalid": {
    broken: { asks: [ask({ tls: true, port: 443, certificate: { wrong: "CERT_HAS_EXPIRED", until: NOW - 1 } })] },
    sound: { asks: [ask({ tls: true, port: 443, certificate: { wrong: "", until: daysFromNow(60) } })] },
    says: /CERT_HAS_EXPIRED/,
    mend: /openssl s_client/,
  },
  "certificate-expiring": {
    severity: "warning",
    broken: { asks: [ask({ tls: true, port: 443, certificate: { wrong: "", until: daysFromNow(3) } })] },
    sound: { asks: [ask({ tls: true, port: 443, certificate: { wrong: "", until: daysFromNow(15) } })] },
    says: /in 3 days/,
  },
  "source-refuses-you": {
    severity: "warning",
    broken: {
      ...withService({ loadBalancerSourceRanges: ["10.0.0.0/8"] }),
      asks: [ask({ answer: { status: 403, reason: "source-refused", text: "", ms: 1 } })],
    },
    sound: withService({ loadBalancerSourceRanges: ["203.0.113.0/24"] }),
    says: /admits 10.0.0.0\/8, and you are 203.0.113.7/,
    mend: /"203.0.113.7\/32"/,
  },
  "answer-failed": {
    broken: { asks: [ask({ answer: { status: 503, reason: "no-available-node", text: "", ms: 1 } })] },
    sound: { asks: [ask({ answer: { status: 503, text: "the server's own", ms: 1 } })] },
    says: /503 no-available-node/,
  },

  // Service
  "type-not-exposed": {
    broken: {
      ...withService(
        { type: "ClusterIP", loadBalancerClass: undefined },
        { annotations: { "postern.dev/hostname": "a.test" } },
      ),
      conditions: {},
    },
    sound: { ...withService({ type: "ClusterIP", loadBalancerClass: undefined }), conditions: {} },
    says: /type ClusterIP/,
  },
  "class-missing": {
    broken: { ...withService({ loadBalancerClass: undefined }), conditions: {} },
    sound: withService({ loadBalancerClass: undefined }),
    says: /no loadBalancerClass/,
    mend: /postern.dev\/edge/,
  },
  "class-foreign": {
    broken: { ...withService({ loadBalancerClass: "postern.dev/egde" }), conditions: {} },
    sound: { ...withService({ loadBalancerClass: "metallb.io/metallb" }), conditions: {} },
    says: /postern.dev\/egde; postern.dev\/edge is Postern's/,
  },
  "annotation-unknown": {
    severity: "warning",
    broken: withService({}, { annotations: { "postern.dev/hostnames": "a.test" } }),
    sound: withService({}, { annotations: { "postern.dev/hostname": "a.test", "example.com/hostnames": "a" } }),
    says: /postern.dev\/hostname is the nearest/,
    mend: /postern.dev\/hostnames- postern.dev\/hostname='a.test'/,
  },
  "annotation-ignored": {
    severity: "warning",
    broken: withService({}, { annotations: { "postern.dev/algorithm": "fastest" } }),
    sound: withService({}, { annotations: { "postern.dev/algorithm": "weighted" } }),
    says: /"fastest" is not usable/,
  },
  "port-not-offered": {
    broken: saying("PortNotOffered", "PortNotOffered", "The edge does not open port 22."),
    sound: saying("HostNotKept", "HostNotKept", "It is rewritten."),
    says: /does not open port 22/,
  },
  "protocol-not-carried": {
    severity: "warning",
    broken: withService({
      ports: [
        { name: "a", port: 80, targetPort: 8080 },
        { name: "b", port: 53, protocol: "UDP" },
      ],
    }),
    sound: withService({
      ports: [
        { name: "a", port: 80, targetPort: 8080 },
        { name: "b", port: 53, targetPort: 8080 },
      ],
    }),
    says: /UDP port 53/,
  },
  "protocol-declared": {
    severity: "warning",
    broken: withService({ ports: [{ port: 80, targetPort: 8080, appProtocol: "https" }] }),
    sound: withService({ ports: [{ port: 80, targetPort: 8080, appProtocol: "http" }] }),
    says: /appProtocol https/,
  },
  "protocol-differs": {
    broken: {
      asks: [
        ask({ answer: { status: 400, text: "<h1>400</h1> The plain HTTP request was sent to HTTPS port", ms: 1 } }),
      ],
    },
    sound: { asks: [ask({ answer: { status: 400, text: "bad request", ms: 1 } })] },
    says: /plain HTTP request was sent to HTTPS port/,
  },
  "selector-missing": {
    broken: {
      ...withService({ selector: undefined }),
      objects: soundBut(service({ selector: undefined })).filter(({ kind }) => kind !== "EndpointSlice"),
      probe: notReady,
    },
    sound: withService({ selector: undefined }),
    says: /no EndpointSlice with an address/,
  },
  "external-name-refused": {
    broken: saying("ExternalNameNotAllowed", "NotListed", "nas.lan is not listed"),
    sound: none,
    says: /nas.lan is not listed/,
  },
  "hostname-conflict": {
    broken: saying(
      "HostnameConflict",
      "HostnameConflict",
      "shop.test port 80 belongs to the older Service default/shop",
    ),
    sound: none,
    says: /older Service default\/shop/,
  },
  "hostname-not-allowed": {
    broken: saying("HostnameNotAllowed", "HostnameNotAllowed", "shop.test is not granted"),
    sound: none,
    says: /not granted/,
  },
  "being-deleted": {
    broken: { kube: { terminatingNamespaces: ["default"] } },
    sound: { kube: { terminatingNamespaces: ["other"] } },
    says: /namespace default is being deleted/,
  },
  "status-overwritten": {
    severity: "warning",
    broken: saying("AnotherStatusWriter", "StatusOverwritten", "k3s writes it"),
    sound: none,
    says: /k3s writes it/,
  },
  "condition-reported": {
    severity: "warning",
    broken: saying("DirectNotPossible", "DirectNotPossible", "no node has an address"),
    sound: none,
    says: /DirectNotPossible/,
  },

  // Table
  "not-published": {
    broken: { conditions: { "default/other": [] } },
    sound: none,
    says: /has published no such Service/,
  },
  "not-programmed": {
    broken: {
      conditions: { "default/web": [condition("Programmed", "NoHostname", "none is left", { status: "False" })] },
    },
    sound: none,
    says: /NoHostname/,
  },
  "directory-other-cluster": {
    broken: {
      edge: {
        directory: [
          { hostname: "web.edge.test", owner: "home", members: [{ cluster: "rack", priority: 0, weight: 1 }] },
        ],
      },
    },
    sound: {
      edge: {
        directory: [
          {
            hostname: "web.edge.test",
            owner: "home",
            members: [
              { cluster: "home", priority: 0, weight: 1 },
              { cluster: "rack", priority: 1, weight: 1 },
            ],
          },
        ],
      },
    },
    says: /served by rack/,
  },

  // Publish
  "publish-stale": {
    broken: { probe: notReady },
    sound: none,
    says: /API server has 3 ready endpoints, the edge has 0/,
  },
  "publish-refused": {
    broken: {
      probe: {
        cluster: {
          ...probe().cluster,
          lastRefused: {
            at: NOW,
            epoch: 1,
            sequence: 3,
            token: null,
            node: "n1",
            reason: "too-large",
            message: "9 MiB",
          },
        },
      },
    },
    sound: {
      probe: {
        cluster: {
          ...probe().cluster,
          lastRefused: {
            at: NOW - 60_000,
            epoch: 1,
            sequence: 1,
            token: null,
            node: "n1",
            reason: "too-large",
            message: "9 MiB",
          },
        },
      },
    },
    says: /too-large: 9 MiB/,
  },
  "agent-cannot-read": {
    severity: "warning",
    object: "Node n2",
    broken: {
      probe: {
        connections: [
          connection("n1"),
          answering("n2", {
            source: {
              ...report("n2").source,
              state: "troubled",
              problems: [{ where: "Service", message: "ECONNREFUSED" }],
            },
          }),
          connection("n3"),
        ],
      },
    },
    sound: {
      probe: {
        connections: [
          connection("n1"),
          answering("n2", { uptimeMs: 500, source: { ...report("n2").source, state: "reading" } }),
          connection("n3"),
        ],
      },
    },
    says: /troubled: Service: ECONNREFUSED/,
  },

  // Tunnel
  "agent-missing": {
    broken: {
      agents: [],
      kube: { agent: { pods: [], installed: false } },
      edge: { nodes: [] },
      probe: { connections: [] },
    },
    sound: { agents: [], kube: { agent: { pods: [], installed: false } } },
    says: /no DaemonSet postern-agent/,
  },
  "agent-down": {
    severity: "warning",
    object: "Node n3",
    broken: {
      agents: [agentPod("n1"), agentPod("n2"), agentPod("n3", false)],
      probe: { connections: [connection("n1"), connection("n2")] },
    },
    sound: {
      objects: soundBut(node("n4", { labels: { "kubernetes.io/os": "windows" } })),
      probe: { connections: [...probe().connections, connection("n4")] },
    },
    says: /postern-agent-n3 is Running and not Ready/,
  },
  "node-not-connected": {
    severity: "warning",
    object: "Node n2",
    broken: { probe: { connections: [connection("n1"), connection("n3")], unconnectedNodes: ["n2"] } },
    sound: none,
    says: /no tunnel; connected are n1, n3/,
  },
  "tunnel-silent": {
    object: "Node n2",
    broken: {
      probe: {
        connections: [
          connection("n1"),
          connection("n2", {
            probe: { ok: false, stage: "not-answered", afterMs: 2_500, heard: false, why: "no answer" },
          }),
          connection("n3"),
        ],
      },
    },
    sound: {
      probe: {
        connections: [
          connection("n1"),
          connection("n2", { probe: { ok: false, stage: "busy", afterMs: 1, heard: true, why: "busy" } }),
          connection("n3"),
        ],
      },
    },
    says: /no answer; nothing else came either/,
  },

  // Nodes
  "no-eligible-node": {
    broken: { probe: { excludedNodes: nodeNames.map((name) => ({ node: name, why: "label exclude" })) } },
    sound: { probe: { excludedNodes: [{ node: "n1", why: "label exclude" }] } },
    says: /label exclude/,
    also: ["error no-eligible-node", "error no-eligible-node"],
  },
  "node-not-ready": {
    severity: "warning",
    object: "Node n2",
    broken: { objects: soundBut(node("n2", { ready: false })) },
    sound: { objects: soundBut(node("n2", { spec: { unschedulable: true, podCIDRs: [] } })) },
    says: /kubelet says so/,
  },
  "local-policy-no-pods": {
    broken: {
      ...withService({ externalTrafficPolicy: "Local" }),
      objects: soundBut(service({ externalTrafficPolicy: "Local" }), slice([true])),
      probe: { connections: [connection("n2"), connection("n3")], unconnectedNodes: ["n1"] },
    },
    sound: { objects: soundBut(service({ externalTrafficPolicy: "Local" }), slice([true])) },
    says: /pods are on n1; nodes that take requests: n2, n3/,
    also: ["warning node-not-connected"],
  },
  "clock-skew": {
    severity: "warning",
    object: "Node n2",
    broken: { probe: { connections: [connection("n1"), answering("n2", {}, {}, -8_000), connection("n3")] } },
    sound: { probe: { connections: [connection("n1"), answering("n2", {}, {}, 900), connection("n3")] } },
    says: /8.0 s behind/,
  },
  "conntrack-full": {
    object: "Node n2",
    broken: {
      probe: {
        connections: [connection("n1"), answering("n2", { conntrack: { count: 990, max: 1_000 } }), connection("n3")],
      },
    },
    sound: {
      probe: {
        connections: [connection("n1"), answering("n2", { conntrack: { count: 700, max: 1_000 } }), connection("n3")],
      },
    },
    says: /990 of 1000 connections \(99 %\)/,
    mend: /nf_conntrack_max=2000/,
  },
  "kube-proxy-down": {
    severity: "warning",
    object: "Node n2",
    broken: { kubeProxies: [pod(1, { name: "kube-proxy-a" }), pod(2, { name: "kube-proxy-b", ready: false })] },
    sound: {
      kubeProxies: [
        pod(1, { name: "kube-proxy-a" }),
        pod(2, { name: "kube-proxy-b" }),
        pod(2, { name: "kube-proxy-old", ready: false }),
      ],
    },
    says: /kube-proxy-b is Running and not Ready/,
  },
  "kube-proxy-version": {
    severity: "warning",
    object: "Node n2",
    broken: {
      kubeProxies: [
        kubeProxyPod(1, "registry.test:5000/kube-proxy:v1.34.9"),
        kubeProxyPod(2, "registry.test:5000/kube-proxy:v1.35.0@sha256:abc"),
      ],
    },
    sound: {
      kubeProxies: [
        kubeProxyPod(1, "registry.test:5000/kube-proxy:v1.31.0"),
        kubeProxyPod(2, "registry.test:5000/kube-proxy:latest"),
        kubeProxyPod(3, "registry.test:5000/kube-proxy:v1.20.0", {
          metadata: { deletionTimestamp: "2026-11-27T11:00:00Z" },
        }),
      ],
    },
    says: /^kube-proxy-2 is v1\.35\.0, newer than the API server, v1\.34\.2$/,
    mend: /^kubectl -n default set image daemonset\/kube-proxy kube-proxy=registry\.test:5000\/kube-proxy:v1\.34\.2 /,
  },
  "nodeport-silent": {
    severity: "warning",
    object: "Node n2",
    broken: dialled({ n2: { 0: "refused" } }),
    sound: dialled({}),
    says: /10.90.0.12:30080: refused; kube-proxy/,
  },
  "rules-differ": {
    object: "Node n2",
    broken: {
      probe: {
        connections: [
          connection("n1"),
          answering("n2", {
            proxy: "nftables",
            kernel: { ...report("n2").kernel, state: "differs", why: "somebody flushed them" },
          }),
          connection("n3"),
        ],
      },
    },
    sound: {
      probe: {
        connections: [
          connection("n1"),
          answering("n2", { proxy: "nftables", kernel: { ...report("n2").kernel, state: "in-step" } }),
          connection("n3"),
        ],
      },
    },
    says: /somebody flushed them/,
  },

  // Dial
  "target-port-refused": {
    broken: dialled(everyNode({ 1: "refused", 2: "refused", 3: "refused" })),
    sound: dialled({}),
    says: /refused every node; the container lists that port, so most likely its process listens on 127.0.0.1 only/,
  },
  "network-policy": {
    broken: dialled(everyNode(timeouts), soundBut(policy({}))),
    sound: dialled(
      {},
      soundBut(policy({ ingress: [{ from: [{ ipBlock: { cidr: "10.90.0.0/24" } }], ports: [{ port: "http" }] }] })),
    ),
    says: /NetworkPolicy closed admits no node/,
    mend: /edit networkpolicy closed/,
  },
  "node-cannot-dial": {
    object: "Node n2",
    broken: dialled({ n2: timeouts }),
    sound: dialled({}),
    says: /other nodes reach; a firewall of n2 is likely/,
  },
  "endpoint-unreachable": {
    broken: dialled(everyNode({ 2: "timeout" })),
    sound: dialled({}),
    says: /no node has an answer from 10.244.2.5:8080/,
  },

  // Pods
  "selector-matches-nothing": {
    broken: selecting({ app: "wbe" }),
    sound: none,
    says: /selector app=wbe: the nearest is Deployment web, which has app=web instead of app=wbe/,
    mend: /"selector":\{"app":"web"\}/,
  },
  "selector-elsewhere": {
    broken: { ...selecting({ tier: "shop" }), kube: { elsewhere: { "default/web": ["shop"] } } },
    sound: none,
    says: /no pod in namespace default, but in shop/,
  },
  "target-port-name-missing": {
    broken: {
      objects: soundBut(service({ ports: [{ port: 80, targetPort: "htpp" }] }), slice([true, true, true], {})),
    },
    sound: withService({ ports: [{ port: 80, targetPort: "http" }] }),
    says: /targetPort htpp; the containers' are http/,
    mend: /"targetPort":"http"/,
  },
  "readiness-failing": {
    broken: noneReady(
      ...unready({}),
      event("Pod", "web-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
    ),
    sound: noneReady(
      ...[1, 2, 3].map((number) =>
        pod(number, { ready: false, metadata: { creationTimestamp: new Date(NOW - 5_000).toISOString() } }),
      ),
    ),
    says: /HTTP GET \/healthz at port 8080; it says: HTTP probe failed with statuscode: 500/,
    also: ["error readiness-failing"],
  },
  "crash-looping": {
    broken: noneReady(
      ...unready({
        restartCount: 4,
        state: { waiting: { reason: "CrashLoopBackOff" } },
        lastState: { terminated: { reason: "Error", exitCode: 3 } },
      }),
    ),
    sound: none,
    says: /ends with exit code 3 \(Error\)/,
    mend: /logs web-1 -c web --previous/,
  },
  "image-not-pulled": {
    broken: noneReady(...unready({ state: { waiting: { reason: "ImagePullBackOff", message: "not found" } } })),
    sound: none,
    says: /image registry.test\/web:1: ImagePullBackOff: not found/,
  },
  "container-not-started": {
    broken: noneReady(
      ...unready({ state: { waiting: { reason: "CreateContainerConfigError", message: 'secret "s" not found' } } }),
    ),
    sound: none,
    says: /secret "s" not found/,
  },
  "not-scheduled": {
    broken: noneReady(
      ...[1, 2, 3].map((number) =>
        pod(number, {
          node: "",
          ready: false,
          status: {
            phase: "Pending",
            podIPs: [],
            conditions: [
              { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes are available" },
            ],
          },
        }),
      ),
    ),
    sound: none,
    says: /0\/3 nodes are available/,
  },
  "pods-not-made": {
    broken: {
      objects: [
        service(),
        deployment({}, { replicas: 0 }),
        event("ReplicaSet", "web-abc", "FailedCreate", "exceeded quota: small"),
        ...nodeNames.map((name) => node(name)),
      ],
      probe: notReady,
    },
    sound: none,
    says: /Deployment web wants 3 pods and has 0: exceeded quota: small/,
  },
  "no-ready-pods": {
    broken: noneReady(
      ...[1, 2, 3].map((number) => pod(number, { ready: false, container: { readinessProbe: undefined } })),
    ),
    sound: none,
    says: /it is Running and not Ready/,
  },
  "family-mismatch": {
    broken: {
      objects: soundBut(service({ ipFamilies: ["IPv6"] }), {
        ...slice(),
        addressType: "IPv6",
        endpoints: [{ addresses: ["fd00::5"], conditions: { ready: true } }],
      }),
    },
    sound: none,
    says: /endpoints are IPv6, nodes are IPv4/,
  },
};

describe.each(Object.entries(rows))(
  "%s",
  (id, { broken, sound, says, also = [], severity = "error", object, mend }) => {
    it("is found", () => {
      const found = diagnose(broken);
      expect(wrongs(found).sort()).toEqual([`${severity} ${id}`, ...also].sort());
      const own = found.findings.find((each) => each.id === id && says.test(each.seen));
      expect(own?.seen ?? found.findings.map(({ seen }) => seen)).toMatch(says);
      expect(own?.object).toBe(object ?? own?.object);
      expect(own?.mend).toMatch(mend ?? /\S/);
      expect(own?.page).toBe(`docs/doctor.md#${id}`);
      expect(found.hops.find(({ hop }) => hop === own?.hop)?.state).toBe("wrong");
    });

    it("is not said of what is well", () => {
      expect(wrongs(diagnose(sound))).toEqual([]);
    });
  },
);

/** Those that are only worth knowing, what is of a file, and what a traced request shows (trace.test.ts). */
const elsewhere = [
  ...["node-excluded", "scaled-to-zero", "target-port-unlisted", "object-invalid", "quota-unknown"],
  "request-differs",
];

it("every check has its row, or is tested below", () => {
  expect([...Object.keys(rows), ...elsewhere].sort()).toEqual([...checkIds].sort());
});

describe("the day's limits of Cloudflare", () => {
  it("are only mentioned where the provider says nothing of them", () => {
    const refused = { why: "not authorized", lacksRight: true };
    const found = diagnose({ edge: { quota: { account: "a1", resetsAt: 0, refused } } });
    expect(wrongs(found)).toEqual([]);
    expect(found.findings).toMatchObject([
      { id: "quota-unknown", severity: "info", object: "Account a1", mend: expect.stringMatching(/Account Analytics/) },
    ]);
  });

  it("are used up where clients get error 1027, whoever counts", () => {
    const text = "<title>Error 1027: rate limited</title>";
    const found = diagnose({ asks: [ask({ answer: { status: 429, text, ms: 1 } })] });
    expect(wrongs(found)).toContain("error quota-exhausted");
  });

  it.each<[string, Change["edge"]]>([
    ["Worker requests", { software: "postern-edge 0.1.0" }],
    ["Durable Object requests", {}],
  ])("%s: past one that the edge could not answer past, the plan is another", (what, edge) => {
    const used = what === "Worker requests" ? { workerRequests: 100_000 } : { objectRequests: 100_000 };
    const [found] = diagnose(quota({ ...used, rowsWritten: 90_000 }, edge)).findings;
    expect(found).toMatchObject({ id: "quota-near", severity: "info", seen: expect.stringMatching(/plan is another/) });
  });

  it("the nearest is told where all is well", () => {
    const { hops } = diagnose(quota({ workerRequests: 12_345, objectTime: 1 }));
    expect(hops[0]?.said).toMatch(/; today 12,345 of 100,000 Worker requests \(12 %\)$/);
  });
});

it("of a sound cluster every hop is well", () => {
  const found = diagnose();
  expect(found.findings).toEqual([]);
  const unknown = found.hops.filter(({ state }) => state !== "well").map(({ hop }) => hop);
  // kube-proxy's rules are not looked at.
  expect(unknown).toEqual(["rules"]);
  expect(found.hops.find(({ hop }) => hop === "dial")?.said).toBe("9 of 9 dials connected");
});

describe("nothing is wrong with", () => {
  it.each<[string, Change, string?]>([
    [
      "what is scaled to zero on purpose",
      {
        objects: [
          service(),
          slice([]),
          deployment({ replicas: 0 }, { replicas: 0 }),
          ...nodeNames.map((name) => node(name)),
        ],
        probe: notReady,
        conditions: saying("NoMatchingPods", "SelectorMatchesNothing", "no pod").conditions ?? {},
        asks: [ask({ answer: { status: 503, reason: "no-endpoints", text: "", ms: 1 } })],
      },
      "scaled-to-zero",
    ],
    [
      "a cordoned node",
      {
        objects: soundBut(
          node("n2", {
            spec: {
              unschedulable: true,
              podCIDRs: [],
              taints: [{ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" }],
            },
          }),
        ),
      },
    ],
    [
      "one excluded node of three",
      { probe: { excludedNodes: [{ node: "n2", why: "label exclude" }] } },
      "node-excluded",
    ],
    [
      "a Service of another class",
      { ...withService({ loadBalancerClass: "example.com/other" }), conditions: {} },
      "class-foreign",
    ],
    [
      "policy Local with pods on one node",
      {
        objects: soundBut(service({ externalTrafficPolicy: "Local" }), slice([true])),
        ...{ probe: dialled({ n2: { 0: "timeout" }, n3: { 0: "timeout" } }).probe ?? {} },
      },
    ],
    [
      "a number that no container lists, and that answers",
      withService({ ports: [{ port: 80, targetPort: 9090 }] }),
      "target-port-unlisted",
    ],
    [
      "a Service that was made a moment ago",
      { ...withService({}, { creationTimestamp: new Date(NOW - 3_000).toISOString() }), conditions: {} },
      "not-published",
    ],
    ["a policy that nothing enforces", { objects: soundBut(policy({})) }, "network-policy"],
  ])("%s", (_, change, said) => {
    const found = diagnose(change);
    expect(wrongs(found)).toEqual([]);
    expect(found.findings.map(({ id }) => id)).toEqual(said === undefined ? [] : [said]);
  });
});

describe("kube-proxy's version beside an API server of v1.34.2", () => {
  const k3s = (version: string): Change => ({ objects: soundBut(node("n2", { kubelet: version })) });
  const inPlace = {
    probe: { connections: [connection("n1"), answering("n2", { proxy: "nftables" }), connection("n3")] },
  };

  it.each<[what: string, change: Change, seen: readonly string[]]>([
    ["pods three minors older", { kubeProxies: [kubeProxyPod(1, "kube-proxy:v1.31.14")] }, []],
    [
      "pods four minors older",
      { kubeProxies: [kubeProxyPod(1, "kube-proxy:v1.30.14-eks-1")] },
      ["kube-proxy-1 is v1.30.14, 4 minor versions older than the API server, v1.34.2"],
    ],
    ["k3s of another patch", k3s("v1.34.9+k3s1"), []],
    [
      "k3s that is newer than its server",
      k3s("v1.35.0+k3s1"),
      ["k3s with its kube-proxy is v1.35.0+k3s1, newer than the API server, v1.34.2"],
    ],
    ["k3s where the agent is in kube-proxy's place", { ...k3s("v1.35.0+k3s1"), ...inPlace }, []],
    ["a kubelet, which tells nothing of a kube-proxy of its own", k3s("v1.35.0"), []],
    [
      "an API server that does not say its version",
      { kubeProxies: [kubeProxyPod(1, "kube-proxy:v1.20.0")], kube: { serverVersion: "" } },
      [],
    ],
  ])("%s", (_, change, seen) => {
    const found = diagnose(change).findings.filter(({ id }) => id === "kube-proxy-version");
    expect(found.map((each) => each.seen)).toEqual(seen);
  });
});

describe("two faults at once are both named:", () => {
  it("a selector's slip and a port that is not offered", () => {
    const found = diagnose({
      ...selecting({ app: "wbe" }),
      conditions: saying("PortNotOffered", "PortNotOffered", "port 22").conditions ?? {},
    });
    expect(wrongs(found)).toEqual(["error port-not-offered", "error selector-matches-nothing"]);
  });

  it("a firewall on one node, and a full table on another", () => {
    const connections = [
      answering("n1", { conntrack: { count: 999, max: 1_000 } }),
      answering("n2", {}, timeouts),
      connection("n3"),
    ];
    const found = diagnose({ probe: { connections } });
    expect(found.findings.map(({ id, object }) => `${id} ${object}`).sort()).toEqual([
      "conntrack-full Node n1",
      "node-cannot-dial Node n2",
    ]);
  });

  it("pods of two kinds of trouble", () => {
    const objects = soundBut(
      slice([true, false, false]),
      pod(2, { ready: false, containerStatus: { state: { waiting: { reason: "ErrImagePull" } } } }),
      pod(3, {
        ready: false,
        containerStatus: { restartCount: 3, state: { waiting: { reason: "CrashLoopBackOff" } } },
      }),
    );
    expect(wrongs(diagnose({ objects })).sort()).toEqual(["warning crash-looping", "warning image-not-pulled"]);
  });
});

describe("who is to blame", () => {
  it("what the edge answers in a server's place is only told where a cause was found", () => {
    const asks = [ask({ answer: { status: 504, reason: "timeout", text: "", ms: 1 } })];
    expect(wrongs(diagnose({ asks }))).toEqual(["error answer-failed"]);
    expect(wrongs(diagnose({ ...dialled({ n2: timeouts }), asks }))).toEqual(["error node-cannot-dial"]);
    const broke = [ask({ answer: { status: 502, reason: "endpoint-broke", text: "", ms: 1 } })];
    expect(wrongs(diagnose({ asks: broke }))).toEqual(["warning protocol-differs"]);
    const refused = dialled(everyNode({ 1: "refused", 2: "refused", 3: "refused" }));
    expect(wrongs(diagnose({ ...refused, asks: broke }))).toEqual(["error target-port-refused"]);
  });

  it("a NodePort that no endpoint is behind is not kube-proxy's fault", () => {
    const connections = nodeNames.map((name) => {
      const [port] = report(name, {}, { 0: "refused" }).service?.ports ?? [];
      const ports = port === undefined ? [] : [{ ...port, endpoints: [], refusal: "no endpoint has this port" }];
      return answering(name, { service: { service: "default/web", state: "planned", portsLeftOut: 0, ports } });
    });
    expect(wrongs(diagnose({ probe: { connections } }))).toEqual([]);
  });

  it("a policy is blamed for remote nodes even where a pod's own node gets in", () => {
    const dials = {
      n1: { 2: "timeout", 3: "timeout" },
      n2: { 1: "timeout", 3: "timeout" },
      n3: { 1: "timeout", 2: "timeout" },
    };
    expect(wrongs(diagnose(dialled(dials, soundBut(policy({})))))).toEqual(["error network-policy"]);
  });

  it("with policy Local a node's own pods are compared with the other nodes'", () => {
    const local = (name: string, result: string) => {
      const own = report(name, {}, { [Number(name.slice(1))]: result });
      const [port] = own.service?.ports ?? [];
      const endpoints = (port?.endpoints ?? []).filter((each) => each.local);
      return answering(name, {
        service: {
          service: "default/web",
          state: "planned",
          portsLeftOut: 0,
          ports: [{ port: 80, endpointsLeftOut: 0, nodePorts: [], endpoints }],
        },
      });
    };
    const found = diagnose({
      probe: { connections: [local("n1", "connected"), local("n2", "timeout"), local("n3", "connected")] },
    });
    expect(found.findings.map(({ id, object }) => `${id} ${object}`)).toEqual(["node-cannot-dial Node n2"]);
  });

  it("a wrong number for targetPort is told from a server that listens to itself", () => {
    const objects = soundBut(
      service({ ports: [{ port: 80, targetPort: 9999 }] }),
      slice([true, true, true], { port: 9999 }),
    );
    const dials = { 1: "refused", 2: "refused", 3: "refused" };
    const connections = nodeNames.map((name) => {
      const own = JSON.stringify(answering(name, {}, dials)).replaceAll('"port":8080', '"port":9999');
      return JSON.parse(own) as ReturnType<typeof answering>;
    });
    const found = diagnose({ objects, probe: { connections } });
    const own = found.findings.find(({ id }) => id === "target-port-refused");
    expect(own?.seen).toMatch(/no container lists that port, but 8080: most likely targetPort is wrong/);
    expect(own?.mend).toMatch(/"targetPort":8080/);
    expect(found.findings.map(({ id }) => id)).toContain("target-port-unlisted");
  });
});

it("findings are selected and skipped by id, and the hop is well then", () => {
  const change = rows["selector-matches-nothing"]?.broken ?? {};
  expect(wrongs(diagnose(change, { only: [], skip: ["selector-matches-nothing"] }))).toEqual([]);
  expect(wrongs(diagnose(change, { only: ["version-skew"], skip: [] }))).toEqual([]);
  expect(wrongs(diagnose(change, { only: ["selector-matches-nothing"], skip: [] }))).toEqual([
    "error selector-matches-nothing",
  ]);
});

it("without an edge Kubernetes' side is examined alone, and the rest is unknown", () => {
  const { edge: _, ...facts } = factsOf({ ...selecting({ app: "wbe" }), asks: [] });
  const found = examine(facts);
  expect(wrongs(found)).toEqual(["error selector-matches-nothing"]);
  const unknown = found.hops.filter(({ state }) => state === "unknown").map(({ hop }) => hop);
  expect(unknown).toEqual(["edge", "names", "table", "publish", "tunnel", "nodeport", "rules", "dial"]);
});
