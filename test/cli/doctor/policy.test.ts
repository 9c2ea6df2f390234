// NetworkPolicies by Kubernetes' rules: which of them together keep a node out.
import { expect, it } from "vitest";
import { policiesAgainst } from "../../../cli/doctor/findings/policy.ts";
import { listsOf } from "../../../cli/doctor/kube-objects.ts";
import { pod } from "./world.ts";

const NODE = ["10.90.0.11", "10.244.1.0"];
const policy = (name: string, spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace: "default" },
  spec: { podSelector: {}, ...spec },
});

function against(...policies: object[]): string[] {
  const { pods, policies: all } = listsOf([pod(1), ...policies]);
  const [first] = pods;
  return first === undefined ? ["no pod"] : policiesAgainst(first, 8080, NODE, all).map(({ name }) => name);
}

it.each<[string, object[], string[]]>([
  ["none", [], []],
  ["one that lets nothing in", [policy("deny", {})], ["deny"]],
  ["one about what goes out", [policy("out", { policyTypes: ["Egress"] })], []],
  ["one of other pods", [policy("other", { podSelector: { matchLabels: { app: "db" } } })], []],
  [
    "one by an expression",
    [policy("in", { podSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["web"] }] } })],
    ["in"],
  ],
  ["pods alone", [policy("pods", { ingress: [{ from: [{ podSelector: {} }] }] })], ["pods"]],
  ["the nodes' range", [policy("range", { ingress: [{ from: [{ ipBlock: { cidr: "10.90.0.0/24" } }] }] })], []],
  [
    "a range but for the nodes",
    [policy("but", { ingress: [{ from: [{ ipBlock: { cidr: "10.90.0.0/16", except: ["10.90.0.0/24"] } }] }] })],
    ["but"],
  ],
  ["everybody at another port", [policy("port", { ingress: [{ ports: [{ port: 9090 }] }] })], ["port"]],
  ["everybody at the port's name", [policy("name", { ingress: [{ ports: [{ port: "http" }] }] })], []],
  ["everybody at a range of ports", [policy("ports", { ingress: [{ ports: [{ port: 8000, endPort: 9000 }] }] })], []],
  ["UDP alone", [policy("udp", { ingress: [{ ports: [{ port: 8080, protocol: "UDP" }] }] })], ["udp"]],
  ["two of which one admits", [policy("deny", {}), policy("allow", { ingress: [{}] })], []],
])("%s", (_, policies, expected) => {
  expect(against(...policies)).toEqual(expected);
});
