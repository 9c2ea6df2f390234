// Every mistake in a file is answered with its line, the field and the remedy.
import { describe, expect, it } from "vitest";
import { parseFile } from "../../../agent/source/files/parse.ts";

const good = `apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
    - port: 80
`;

describe("problems", () => {
  it.each([
    [
      "a port written as text",
      good.replace("80", '"80"'),
      "f:7 Service web: spec.ports[0].port: must be a whole number from 1 to 65535, without quotes",
    ],
    [
      "a port out of range",
      good.replace("80", "80000"),
      "f:7 Service web: spec.ports[0].port: must be a whole number from 1 to 65535, without quotes",
    ],
    [
      "a missing field: the line around it",
      good.replace("port: 80", "nodePort: 30000"),
      "f:7 Service web: spec.ports[0].port: is missing: must be a whole number from 1 to 65535, without quotes",
    ],
    [
      "a word that is none of the allowed",
      good.replace("spec:", "spec:\n  type: LoadBalanced"),
      'f:6 Service web: spec.type: expected one of "ClusterIP"|"NodePort"|"LoadBalancer"|"ExternalName"',
    ],
    [
      "a name that Kubernetes would refuse",
      good.replace("web", "Web"),
      "f:4 Service Web: metadata.name: must be lower-case letters, digits, '-' or '.', such as web-1",
    ],
    [
      "no metadata",
      good.replace(/metadata[^]*spec/, "spec"),
      "f:1 Service: metadata: expected object, received undefined",
    ],
    [
      "an old API version",
      "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n",
      "f:1 EndpointSlice: apiVersion: must be discovery.k8s.io/v1",
    ],
    ["no API version", good.replace("apiVersion: v1\n", ""), "f:1 Service: apiVersion: must be v1"],
    [
      "no kind",
      "metadata:\n  name: web\n",
      "f:1 kind is missing: write kind: Service, EndpointSlice, Node or ServiceCIDR (others are ignored)",
    ],
    ["no object at all", "- 1\n", "f:1 must be a Kubernetes object with apiVersion, kind and metadata"],
    [
      "an item of a list",
      `kind: List\napiVersion: v1\nitems:\n${good.replace("80", "0").replace(/^/gm, "    ").replace("    api", "  - api")}`,
      "f:10 Service web: spec.ports[0].port: must be a whole number from 1 to 65535, without quotes",
    ],
    ["a list without items", "kind: List\napiVersion: v1\nitems: web\n", "f:3 List: items must be a list"],
    [
      "a label that YAML reads as a truth value",
      good.replace("name: web", "name: web\n  labels: {on: true}"),
      "f:5 Service web: metadata.labels.on: expected string, received boolean",
    ],
    [
      "a second document",
      `${good}---\n${good.replace("80", "x")}`,
      "f:15 Service web: spec.ports[0].port: must be a whole number from 1 to 65535, without quotes",
    ],
  ])("%s", (_what, text, expected) => {
    const { problems } = parseFile("f", text);
    expect(problems.map(({ where, message }) => `${where} ${message}`)).toEqual([expected]);
  });

  it.each([
    ["bad indentation", "a: b\n  c: d\n", /^f:1 not YAML: Nested mappings/],
    ["a key twice", `${good}kind: Node\n`, /^f:8 not YAML: Map keys must be unique/],
    [
      "aliases that grow without bound",
      `a: &a [x, x]\n${"bcdefgh"
        .split("")
        .map((k, i) => `${k}: &${k} [${`*${"abcdefg"[i]}, `.repeat(9)}]`)
        .join("\n")}\n`,
      /^f:1 not usable YAML: .*alias/,
    ],
  ])("%s", (_what, text, expected) => {
    const { problems } = parseFile("f", text);
    expect(problems.map(({ where, message }) => `${where} ${message}`)[0]).toMatch(expected);
  });

  it.each([
    ["nothing", ""],
    ["comments only", "# nothing yet\n"],
    ["empty documents", "---\n---\n"],
    ["another group's Service", "apiVersion: serving.knative.dev/v1\nkind: Service\n"],
    ["other kinds, whatever is in them", "apiVersion: v1\nkind: ConfigMap\nmetadata: 7\n"],
  ])("none for %s", (_what, text) => {
    expect(parseFile("f", text)).toEqual({ objects: [], problems: [] });
  });

  it("keeps the good objects of a file beside the bad", () => {
    const { objects } = parseFile("f", `${good}---\n${good.replace("80", "x")}`);
    expect(objects.map(({ where }) => where)).toEqual(["f:1"]);
  });
});

describe("identity", () => {
  const identity = (text: string) => parseFile("f", text).objects[0]?.object.metadata;

  it("is made up from kind, namespace and name where it is missing", () => {
    const { uid, creationTimestamp } = identity(good) ?? {};
    expect(uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(creationTimestamp).toBe("1970-01-01T00:00:00Z");
    expect(identity(good.replace("80", "81"))?.uid).toBe(uid);
    expect(identity(good.replace("name: web", "name: web\n  namespace: default"))?.uid).toBe(uid);
    expect(identity(good.replace("name: web", "name: web\n  namespace: shop"))?.uid).not.toBe(uid);
    expect(identity(good.replace("web", "shop"))?.uid).not.toBe(uid);
  });

  it("is kept where it is written", () => {
    const text = good.replace("name: web", "name: web\n  uid: u-1\n  creationTimestamp: 2026-01-31T12:00:00Z");
    expect(identity(text)).toMatchObject({ uid: "u-1", creationTimestamp: "2026-01-31T12:00:00Z" });
    expect(identity(good.replace("name: web", "name: web\n  creationTimestamp: null"))?.creationTimestamp).toBe(
      "1970-01-01T00:00:00Z",
    );
  });
});
