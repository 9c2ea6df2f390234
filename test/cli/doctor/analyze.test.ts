// What an apply would break, of files alone and over what a cluster has.
import { describe, expect, it } from "vitest";
import { analyze, fileFacts, type Foreseen } from "../../../cli/doctor/analyze.ts";
import { nothingRead } from "../../../cli/doctor/facts.ts";
import { listsOf } from "../../../cli/doctor/kube-objects.ts";
import { deployment, NOW, node, pod, service, slice, soundObjects, wrongs } from "./world.ts";

const all = { only: [], skip: [] };
const foreseen: Foreseen = {
  now: NOW,
  listenerPorts: "standard",
  tls: true,
  domain: "edge.test",
  cluster: "home",
  taken: new Map(),
};
const text = (...objects: object[]): string => objects.map((object) => JSON.stringify(object)).join("\n---\n");
const alone = (yaml: string, more: Partial<Foreseen> = {}) =>
  analyze(fileFacts("web.yaml", yaml), undefined, { ...foreseen, ...more }, all);
const live = { ...nothingRead, ...listsOf(soundObjects()) };
const over = (yaml: string, cluster = live, more: Partial<Foreseen> = {}) =>
  analyze(fileFacts("web.yaml", yaml), cluster, { ...foreseen, ...more }, all);
const named = (name: string, spec: object = {}, metadata: object = {}) =>
  service({ nodePort: undefined, ...spec }, { name, creationTimestamp: undefined, uid: undefined, ...metadata });

const sound = text(named("web"), deployment());

describe("of a file alone", () => {
  it.each<[string, string, string[], RegExp?]>([
    ["nothing is wrong with a sound one", sound, []],
    ["nothing is said of pods where the file has none", text(named("web", { selector: { app: "elsewhere" } })), []],
    [
      "a selector that matches nothing of it",
      text(named("web", { selector: { app: "wbe" } }), deployment()),
      ["error selector-matches-nothing"],
      /nearest is Deployment web/,
    ],
    ["scaled to zero is meant", text(named("web"), deployment({ replicas: 0 })), []],
    [
      "a named targetPort that no container has",
      text(named("web", { ports: [{ port: 80, targetPort: "grpc" }] }), deployment()),
      ["error target-port-name-missing"],
      /the containers' are http/,
    ],
    [
      "an annotation that there is not",
      text(named("web", {}, { annotations: { "postern.dev/host-name": "a.test" } })),
      ["warning annotation-unknown"],
      /postern.dev\/hostname is the nearest/,
    ],
    [
      "a value that cannot be read",
      text(named("web", {}, { annotations: { "postern.dev/transport": "tcp" } })),
      ["warning annotation-ignored"],
      /tunnel, direct/,
    ],
    [
      "an appProtocol that is not spoken",
      text(named("web", { ports: [{ port: 80, targetPort: 8080, appProtocol: "kubernetes.io/h2c" }] })),
      ["warning protocol-declared"],
      /HTTP\/2/,
    ],
    [
      "a port that the zone does not offer",
      text(named("web", { ports: [{ port: 3000, targetPort: 8080 }] })),
      ["error port-not-offered"],
      /does not open port 3000/,
    ],
    [
      "two that want one name",
      text(
        named("web", {}, { annotations: { "postern.dev/hostname": "shop.test" } }),
        named("zoo", {}, { annotations: { "postern.dev/hostname": "shop.test" } }),
      ),
      ["error hostname-conflict"],
      /belongs to the older Service default\/web/,
    ],
    [
      "a class with a slip",
      text(named("web", { loadBalancerClass: "postern.dev/edgy" })),
      ["error class-foreign"],
      /postern.dev\/edge is Postern's/,
    ],
    ["no class", text(named("web", { loadBalancerClass: undefined })), ["warning class-missing"]],
    [
      "what no API server takes",
      "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ port: eighty }] }\n",
      ["error object-invalid"],
      /spec.ports\[0\].port: must be a whole number/,
    ],
    ["what is no YAML", "a: [\n", ["error object-invalid"], /not YAML/],
  ])("%s", (_, yaml, expected, says = /(?:)/) => {
    const found = alone(yaml);
    expect(wrongs(found)).toEqual(expected);
    expect(found.findings.map(({ seen }) => seen).join("\n")).toMatch(says);
  });

  it("an edge of one's own offers what it lists", () => {
    const yaml = text(named("web", { ports: [{ port: 3000, targetPort: 8080 }] }));
    expect(wrongs(alone(yaml, { listenerPorts: "any" }))).toEqual([]);
    expect(wrongs(alone(yaml, { listenerPorts: "80,2000-2999" }))).toEqual(["error port-not-offered"]);
  });

  it("--default-class makes a Service without a class Postern's", () => {
    expect(wrongs(alone(text(named("web", { loadBalancerClass: undefined })), { defaultClass: true }))).toEqual([]);
  });

  it("lists are taken apart, and the line of a fault is named", () => {
    const list = { apiVersion: "v1", kind: "List", items: [named("web", { selector: { app: "wbe" } }), deployment()] };
    expect(wrongs(alone(text(list)))).toEqual(["error selector-matches-nothing"]);
    const [first] = alone(
      `${sound}\n---\napiVersion: v1\nkind: Servise\n---\nkind: service\napiVersion: v1\n`,
    ).findings;
    expect(first?.object).toMatch(/^File web.yaml:\d+$/);
  });
});

describe("over what the cluster has", () => {
  it("the same objects again break nothing", () => {
    expect(over(text(service(), deployment())).findings).toEqual([]);
  });

  it("labels of a Deployment that change take the pods from a Service that is not in the file", () => {
    const found = over(text(deployment({}, { replicas: 3 }, { app: "web2" })));
    expect(found.findings.map(({ id, object }) => `${id} ${object}`)).toEqual([
      "selector-matches-nothing Service default/web",
    ]);
    expect(found.services).toEqual([]);
  });

  it("what was wrong before is not the apply's fault", () => {
    const broken = {
      ...nothingRead,
      ...listsOf([...soundObjects(), service({ selector: { app: "wbe" } }, { name: "old" })]),
    };
    expect(over(text(named("new")), broken).findings).toEqual([]);
  });

  it("a name that an older Service has stays its own", () => {
    const annotations = { "postern.dev/hostname": "shop.test" };
    const cluster = {
      ...nothingRead,
      ...listsOf([service({}, { name: "zoo", annotations }), slice(), node("n1"), pod(1)]),
    };
    const found = over(text(named("web", {}, { annotations })), cluster);
    expect(wrongs(found)).toEqual(["error hostname-conflict"]);
    expect(found.findings[0]?.seen).toMatch(/older Service default\/zoo/);
  });

  it("a name that another cluster has is refused", () => {
    const yaml = text(named("web", {}, { annotations: { "postern.dev/hostname": "shop.test" } }));
    expect(over(yaml, live, { taken: new Map([["shop.test", "rack"]]) }).findings[0]?.seen).toMatch(
      /shop.test is cluster rack's/,
    );
  });
});
