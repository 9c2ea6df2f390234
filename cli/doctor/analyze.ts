// What an apply would break: the facts as they would be are put together from a file, alone or over what the cluster has, and judged by the
// doctor's own checks; conditions are foretold by the rules of the agent and the edge themselves. Pure.
import { parse, parseAllDocuments } from "yaml";
import { parseFile } from "../../agent/source/files/parse.ts";
import { keyOf } from "../../agent/plan/keys.ts";
import { buildSnapshot } from "../../agent/plan/snapshot.ts";
import type { KubeService } from "../../agent/source/resources.ts";
import { compile } from "../../src/edge/routing/compile.ts";
import { dialRules } from "../../src/edge/routing/dial.ts";
import { endpointAlgorithms } from "../../src/shared/model/snapshot.ts";
import { examine, type Report, type Selection } from "./examine.ts";
import { type Facts, type KubeFacts, nothingRead } from "./facts.ts";
import { type Finding, finding } from "./finding.ts";
import { listsOf } from "./kube-objects.ts";
import { selects } from "./nearest.ts";

export interface Foreseen {
  readonly now: number;
  /** What the edge offers: "standard", "any", or a list of ports. */
  readonly listenerPorts: string;
  readonly tls: boolean;
  readonly domain: string;
  readonly cluster: string;
  /** Host names that other clusters have. */
  readonly taken: ReadonlyMap<string, string>;
  /** Agents serve Services without a class; undefined: unknown. */
  readonly defaultClass?: boolean;
}

export interface FileFacts {
  readonly kube: KubeFacts;
  /** What is wrong with the file itself. */
  readonly findings: readonly Finding[];
}

/** `file`: how it is called. */
export function fileFacts(file: string, text: string): FileFacts {
  const { objects, problems } = parseFile(file, text);
  const services = objects.flatMap(({ object }) => (object.kind === "Service" ? [object] : []));
  const slices = objects.flatMap(({ object }) => (object.kind === "EndpointSlice" ? [object] : []));
  const nodes = objects.flatMap(({ object }) => (object.kind === "Node" ? [object] : []));
  const { workloads, pods, policies } = listsOf(looseObjects(text));
  const kube: KubeFacts = {
    ...nothingRead,
    ...{ services, slices, nodes, pods, policies },
    // Nobody knows better than that the pods it asks for will be made.
    workloads: workloads.map((each) => ({
      ...each,
      made: each.wanted,
      ...(each.kind === "DaemonSet" ? { wanted: 1, made: 1 } : {}),
    })),
    isPartial: true,
  };
  const findings = problems.map(({ where, message }) =>
    finding("object-invalid", "error", `File ${where}`, message, `kubectl apply --dry-run=server -f ${file}`),
  );
  return { kube, findings };
}

/** Kinds that the agent has no use for are read as they are. What is no YAML was said already. */
function looseObjects(text: string): readonly unknown[] {
  const documents = parseAllDocuments(text, { stringKeys: true, logLevel: "silent" });
  const all = Array.isArray(documents) ? documents : [];
  return all.flatMap((document): unknown[] => {
    if (document.errors.length > 0) return [];
    const value: unknown = parse(String(document), { maxAliasCount: 100 });
    const items: unknown = typeof value === "object" && value !== null && "items" in value ? value.items : undefined;
    return Array.isArray(items) ? items : [value];
  });
}

/** The cluster after the apply: what the file has replaces what is of the same name, and pods of a replaced workload go. */
export function overlaid(file: KubeFacts, live: KubeFacts): KubeFacts {
  const replaced = live.workloads.filter((old) => file.workloads.some((each) => sameWorkload(each, old)));
  const stays = live.pods.filter(
    ({ namespace, labels }) => !replaced.some((old) => old.namespace === namespace && selects(old.labels, labels)),
  );
  const merged = <T>(all: (of: KubeFacts) => readonly T[], id: (of: T) => string): readonly T[] => {
    const own = new Set(all(file).map(id));
    return [...all(live).filter((each) => !own.has(id(each))), ...all(file)];
  };
  const created = new Map(live.services.map((service) => [keyOf(service), service]));
  const services = merged(({ services: all }) => all, keyOf).map((service) =>
    aged(service, created.get(keyOf(service))),
  );
  return {
    ...live,
    services,
    slices: merged(
      ({ slices }) => slices,
      ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
    ),
    workloads: merged(
      ({ workloads }) => workloads,
      ({ kind, namespace, name }) => `${kind} ${namespace}/${name}`,
    ),
    policies: merged(
      ({ policies }) => policies,
      ({ namespace, name }) => `${namespace}/${name}`,
    ),
    pods: stays,
  };
}

const sameWorkload = (a: KubeFacts["workloads"][number], b: KubeFacts["workloads"][number]): boolean =>
  a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;

/** It keeps its age and what others wrote: the oldest of two Services keeps a name. */
function aged(service: KubeService, before: KubeService | undefined): KubeService {
  if (before === service) return service;
  if (before === undefined) return { ...service, metadata: { ...service.metadata, creationTimestamp: YOUNGEST } };
  const { uid, creationTimestamp, managedFields } = before.metadata;
  return {
    ...service,
    metadata: { ...service.metadata, uid, creationTimestamp, managedFields },
    status: before.status,
  };
}

/** Later than all that are there. */
const YOUNGEST = "9999-01-01T00:00:00Z";

/**
 * What would be wrong of the file's Services, and of others what is not wrong yet. `live`: what the cluster has; absent: nothing is known
 * but the file.
 */
export function analyze(
  file: FileFacts,
  live: KubeFacts | undefined,
  foreseen: Foreseen,
  selection: Selection,
): Report {
  const after = examine(factsOf(live === undefined ? file.kube : overlaid(file.kube, live), foreseen), selection);
  const before = live === undefined ? [] : examine(factsOf(live, foreseen), selection).findings;
  const own = new Set(file.kube.services.map((service) => `Service ${keyOf(service)}`));
  const known = new Set(before.map(({ id, object }) => `${id} ${object}`));
  const isChosen = ({ id }: Finding): boolean =>
    (selection.only.length === 0 || selection.only.includes(id)) && !selection.skip.includes(id);
  return {
    services: after.services.filter((key) => own.has(`Service ${key}`)),
    hops: [],
    findings: [
      ...file.findings.filter(isChosen),
      ...after.findings
        .filter(({ id, object }) => own.has(object) || !known.has(`${id} ${object}`))
        .map(unlessTold(foreseen)),
    ],
  };
}

/** Whether the agents take what has no class is unknown without a cluster. */
const unlessTold =
  ({ defaultClass }: Foreseen) =>
  (found: Finding): Finding =>
    found.id === "class-missing" && defaultClass === undefined ? { ...found, severity: "warning" } : found;

/** Times do not count for what is not there yet: `now` is long after. */
function factsOf(kube: KubeFacts, foreseen: Foreseen): Facts {
  const conditions = foretold(kube, foreseen);
  const { defaultClass } = foreseen;
  return {
    now: foreseen.now,
    kube: {
      ...kube,
      agent: { ...kube.agent, ...(defaultClass === undefined ? {} : { defaultClass }) },
      services: kube.services.map((service) => {
        const own = conditions[keyOf(service)];
        return own === undefined ? service : { ...service, status: { ...service.status, conditions: [...own] } };
      }),
    },
    asks: [],
  };
}

/** What the leading agent and then the edge would say. */
function foretold(kube: KubeFacts, { listenerPorts, tls, domain, cluster, taken, defaultClass = false }: Foreseen) {
  const snapshot = buildSnapshot(
    {
      services: kube.services,
      endpointSlices: kube.slices,
      nodes: kube.nodes,
      serviceCIDRs: [],
    },
    {
      defaultClass,
      endpointAlgorithms,
      slicesFollow: true,
      // Which names the agents may dial is theirs to know.
      allowExternalName: ["0.0.0.0/0", "::/0"],
      clusterDomain: "cluster.local",
      ignoreExcludeLabel: false,
    },
  );
  const { conditions } = compile(snapshot, {
    cluster,
    edgeDomain: domain,
    assigned: {},
    refused: new Map(
      [...taken].map(([name, owner]) => [name, { reason: "owned", message: `${name} is cluster ${owner}'s` }]),
    ),
    listenerPorts,
    listenerTls: tls,
    dial: dialRules({ ADMIN_HOST: "", LISTENER_PORTS: listenerPorts, DIRECT_ADDRESSES: "any" }),
  });
  return conditions;
}
