// What `kubectl apply` installs: the generated files are those of the base, the agent asks for no more than it needs, and
// what several files must agree on, they do.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import manifest from "../../../package.json" with { type: "json" };
import { fetchingDaemonSet, flatten, generated } from "../../../agent/manifests/flatten.ts";
import { help } from "../../../agent/options-help.ts";

const root = new URL("../../../", import.meta.url).pathname;
const read = (path: string): string => readFileSync(root + path, "utf8");

interface Container {
  image: string;
  ports?: unknown;
  env: { name: string }[];
  securityContext: { capabilities: object };
  [field: string]: unknown;
}
interface Kube {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  rules?: { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }[];
  data?: Record<string, string>;
  spec?: { template?: { spec: Record<string, unknown> & { containers: [Container] } }; updateStrategy?: unknown };
}
const objectsOf = (yaml: string): Kube[] =>
  parseAllDocuments(yaml).map((document) => {
    if (document.errors.length > 0) throw new Error(document.errors.join("\n"));
    return document.toJS() as Kube;
  });
const objects = objectsOf(flatten());
const find = (kind: string): Kube => {
  const [found, second] = objects.filter((object) => object.kind === kind);
  if (found === undefined || second !== undefined) throw new Error(`not one ${kind}`);
  return found;
};
const pod = (from: Kube = find("DaemonSet")) => {
  if (from.spec?.template === undefined) throw new Error("no pod template");
  return from.spec.template.spec;
};

/** [path of a kustomization] → its objects; kubectl needs no cluster for it. */
const kustomized = (path: string): Kube[] | undefined => {
  try {
    return objectsOf(execFileSync("kubectl", ["kustomize", root + path], { encoding: "utf8", stdio: "pipe" }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};
const withKubectl = it.skipIf(kustomized("agent/manifests/base") === undefined);
const sorted = (list: readonly Kube[]) => [...list].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
const nameOf = ({ kind, metadata }: Kube) => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`;

describe("generated files", () => {
  it.each(Object.entries(generated()))("%s is what `npm run manifests` makes", (path, text) => {
    expect(read(path)).toBe(text);
  });

  withKubectl("kubectl kustomize makes the same objects of the base", () => {
    expect(sorted(kustomized("agent/manifests/base") ?? [])).toEqual(sorted(objects));
  });

  it("the base has nothing but resources: flattening loses nothing", () => {
    const {
      apiVersion: _,
      kind: __,
      ...rest
    } = parse(read("agent/manifests/base/kustomization.yaml")) as object & {
      apiVersion: string;
      kind: string;
    };
    expect(Object.keys(rest)).toEqual(["resources"]);
  });
});

describe("rights", () => {
  it.each([
    [
      "ClusterRole",
      [
        "services get,list,watch",
        "services/status patch",
        "nodes list,watch",
        "discovery.k8s.io endpointslices list,watch",
        "events create,patch",
      ],
    ],
    [
      "Role",
      [
        "coordination.k8s.io leases create",
        "coordination.k8s.io leases postern-leader get,update",
        "apps daemonsets postern-agent get",
        "namespaces get",
      ],
    ],
  ])("%s grants these verbs and no other", (kind, granted) => {
    const lines = (find(kind).rules ?? []).map(({ apiGroups, resources, resourceNames = [], verbs }) =>
      [...apiGroups, ...resources, ...resourceNames, verbs.join(",")].filter((word) => word !== "").join(" "),
    );
    expect(lines).toEqual(granted);
  });
});

describe("the pod", () => {
  const [container] = pod().containers;

  it("runs without root, capability or writable root, in the node's network", () => {
    expect(pod()).toMatchObject({
      hostNetwork: true,
      enableServiceLinks: false,
      priorityClassName: find("PriorityClass").metadata.name,
      tolerations: [{ operator: "Exists" }],
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(find("Namespace").metadata.labels).toMatchObject({ "pod-security.kubernetes.io/enforce": "privileged" });
  });

  it("can be replaced by a second one beside it", () => {
    expect(find("DaemonSet").spec?.updateStrategy).toEqual({
      type: "RollingUpdate",
      rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
    });
    expect(container.ports).toBeUndefined();
    for (const probe of ["startupProbe", "livenessProbe"]) expect(container[probe]).toHaveProperty("exec");
  });

  it("is given more time to end than the agent takes", () => {
    const [, drain] = /DRAIN_MS = ([\d_]+)/.exec(read("agent/main.ts")) ?? [];
    expect(pod()["terminationGracePeriodSeconds"]).toBeGreaterThan(Number(drain?.replaceAll("_", "")) / 1000 + 5);
  });

  it("sets only options that the agent knows", () => {
    const given = [...container.env.map(({ name }) => name), ...Object.keys(find("ConfigMap").data ?? {})];
    const known = [...help.matchAll(/^ {2}--([a-z-]+)/gm)].map(([, name = ""]) => name);
    const asFlags = given.map((name) => name.replace("POSTERN_", "").replaceAll("_", "-").toLowerCase());
    expect(asFlags.filter((name) => !known.includes(name))).toEqual([]);
  });

  it("carries the version of this repository", () => {
    expect(container.image).toBe(`localhost/postern-agent:${manifest.version}`);
  });

  it("has the same label on everything, for `kubectl get -l`", () => {
    for (const { metadata } of objects) expect(metadata.labels?.["app.kubernetes.io/name"]).toBe("postern-agent");
  });
});

describe("the pod that fetches the agent", () => {
  const [daemonSet] = objectsOf(fetchingDaemonSet());
  const fetching = pod(daemonSet) as ReturnType<typeof pod> & {
    initContainers: [Container];
    volumes: { name: string }[];
  };
  const [container] = fetching.containers;
  const [init] = fetching.initContainers;
  const node = "docker.io/library/node:24-slim";

  it("is the base's, but for where the agent comes from", () => {
    const { initContainers: _, containers: __, volumes, ...rest } = fetching;
    const {
      containers: [base],
      volumes: baseVolumes,
      ...baseRest
    } = pod();
    expect(rest).toEqual(baseRest);
    expect(volumes).toEqual([...(baseVolumes as object[]), { name: "agent", emptyDir: { sizeLimit: "64Mi" } }]);
    expect(container).toEqual({
      ...base,
      image: node,
      command: ["node", "/agent/main.mjs"],
      env: [...base.env, ...container.env.slice(base.env.length)],
      volumeMounts: [...(base["volumeMounts"] as object[]), { name: "agent", mountPath: "/agent", readOnly: true }],
    });
  });

  it("sets in its environment what the image does", () => {
    const [, env = ""] = /^ENV (.*)$/m.exec(read("agent/Dockerfile")) ?? [];
    const own = container.env.filter(({ name }) => !name.startsWith("POSTERN_")) as unknown as Record<string, string>[];
    expect(own.map(({ name, value }) => `${name}=${value}`).join(" ")).toBe(env);
  });

  it("fetches it without root, capability or writable root, where only the agent's folder is", () => {
    expect(init.securityContext).toEqual(container.securityContext);
    expect(init).toMatchObject({
      image: node,
      command: ["node", "--input-type=module", "--eval"],
      terminationMessagePolicy: "FallbackToLogsOnError",
      volumeMounts: [{ name: "agent", mountPath: "/agent" }],
      envFrom: container["envFrom"],
    });
  });

  withKubectl("is what kustomize makes of the patch", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-kustomize-"));
    try {
      for (const part of ["base/daemonset.yaml", "fetch/patch.yaml"])
        copyFileSync(`${root}agent/manifests/${part}`, join(folder, part.replace(/.*\//, "")));
      const target = { kind: "DaemonSet", name: "postern-agent" };
      const patch = `apiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: postern-agent\n${readFileSync(join(folder, "patch.yaml"), "utf8")}`;
      const kustomization = { resources: ["daemonset.yaml"], patches: [{ target, patch }] };
      writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(kustomization));
      const [made] = objectsOf(execFileSync("kubectl", ["kustomize", folder], { encoding: "utf8", stdio: "pipe" }));
      const theirs = pod(made) as typeof fetching;
      theirs.initContainers[0]["args"] = init["args"];
      const byName = (list: { name: string }[]) => [...list].sort((one, other) => one.name.localeCompare(other.name));
      expect(byName(theirs.volumes)).toEqual(byName(fetching.volumes));
      expect({ ...theirs.containers[0], env: [], volumeMounts: [] }).toEqual({
        ...container,
        env: [],
        volumeMounts: [],
      });
      expect(byName(theirs.containers[0].env)).toEqual(byName(container.env));
      expect(theirs.initContainers).toEqual(fetching.initContainers);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("overlays", () => {
  it("of the kernel read ServiceCIDRs beside what the base reads, and no more", () => {
    const added = objectsOf(read("agent/manifests/overlays/kernel/rbac.yaml"));
    expect(added.map(({ kind }) => kind)).toEqual(["ClusterRole", "ClusterRoleBinding"]);
    expect(added[0]?.rules).toEqual([
      { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list", "watch"] },
    ]);
  });

  const overlay = (mode: string): Kube[] => kustomized(`agent/manifests/overlays/${mode}`) ?? [];
  const podOf = (mode: string) => pod(overlay(mode).find(({ kind }) => kind === "DaemonSet"));

  const xtablesLock = [{ name: "xtables-lock", hostPath: { path: "/run/xtables.lock", type: "FileOrCreate" } }];

  withKubectl.each([
    ["nftables", ["NET_ADMIN"], []],
    ["iptables", ["NET_ADMIN", "NET_RAW"], xtablesLock],
    ["ipvs", ["NET_ADMIN", "NET_RAW"], xtablesLock],
  ] as const)("%s: uid 0 with %j alone, and what it needs of the node", (mode, capabilities, moreVolumes) => {
    const { containers, volumes, securityContext } = podOf(mode);
    expect(containers[0].image).toBe(`localhost/postern-agent-kernel:${manifest.version}`);
    expect(securityContext).toMatchObject({ runAsUser: 0, seccompProfile: { type: "RuntimeDefault" } });
    expect(containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"], add: capabilities },
    });
    const ofNode = (volumes as { name: string }[]).filter(({ name }) => name !== "run" && name !== "token");
    expect(ofNode).toEqual([
      ...moreVolumes,
      { name: "kube-proxy-config", configMap: { name: "postern-kube-proxy", optional: true } },
    ]);
  });

  withKubectl.each(["nftables", "iptables", "ipvs"])(
    "%s: in kube-proxy's place, before anything else on a node, with or without a token",
    (mode) => {
      const { containers, volumes, priorityClassName, tolerations } = podOf(mode);
      expect(containers[0].env).toEqual(
        expect.arrayContaining([
          { name: "POSTERN_PROXY", value: "all" },
          { name: "POSTERN_PROXY_MODE", value: mode },
        ]),
      );
      expect(priorityClassName).toBe("system-node-critical");
      expect(tolerations).toEqual([{ operator: "Exists" }]);
      expect(containers[0]["resources"]).not.toHaveProperty("limits");
      expect(volumes).toContainEqual({ name: "token", secret: expect.objectContaining({ optional: true }) });
    },
  );

  withKubectl.each(["nftables", "iptables", "ipvs"])(
    "%s: everything of the base but the user's settings, and those rights",
    (mode) => {
      const isSetting = ({ metadata }: Kube) => metadata.labels?.["app.kubernetes.io/component"] === "settings";
      expect(objects.filter(isSetting).map(({ kind }) => kind)).toEqual(["ConfigMap", "Secret"]);
      const others = (list: readonly Kube[]) => sorted(list).filter(({ kind }) => kind !== "DaemonSet");
      const rights = objectsOf(read("agent/manifests/overlays/kernel/rbac.yaml"));
      expect(others(overlay(mode))).toEqual(others([...objects.filter((object) => !isSetting(object)), ...rights]));
    },
  );
});
