// One file of Kubernetes YAML (or JSON, which is YAML) → the objects in it that we use, and what is wrong with it. Pure.
// Every problem has a line, the field and the remedy. Kinds that we do not use are skipped: a folder may hold a whole
// application. Nothing here knows of other files.
import { createHash } from "node:crypto";
import { type Document, isNode, LineCounter, parseAllDocuments } from "yaml";
import { fieldName, remedy } from "../explain.ts";
import { type KubeObject, schemas } from "../resources.ts";
import type { SourceProblem } from "../source.ts";

export interface LocatedObject {
  readonly object: KubeObject;
  /** "web.yaml:12" */
  readonly where: string;
}

export interface ParsedFile {
  readonly objects: readonly LocatedObject[];
  readonly problems: readonly SourceProblem[];
}

/** Problems reported for one file; a file with more is not worth reading on. */
const PROBLEMS_MAX = 20;
/** How deep a List may hold Lists. */
const LIST_DEPTH_MAX = 4;

type Path = readonly PropertyKey[];
type Fields = Readonly<Record<string, unknown>>;
const kinds = new Map(
  Object.keys(schemas).map((id) => [id.slice(id.lastIndexOf("/") + 1), id as keyof typeof schemas]),
);

/** `file` is only shown. */
export function parseFile(file: string, text: string): ParsedFile {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const objects: LocatedObject[] = [];
  const problems: SourceProblem[] = [];
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;

  for (const document of Array.isArray(documents) ? documents : []) {
    if (document.errors.length > 0) {
      for (const { pos, message } of document.errors)
        problems.push({ where: at(pos[0]), message: `not YAML: ${message}` });
      continue;
    }
    const report = (path: Path, message: string) => {
      problems.push({ where: at(offsetOf(document, path)), message });
    };
    let content: unknown;
    try {
      content = document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      report([], `not usable YAML: ${(error as Error).message}`);
      continue;
    }
    // An empty document: "---" at the end, or nothing but comments.
    if (content === null) continue;
    for (const { path, fields } of flatten(content, [], report)) {
      const object = parseObject(fields, path, report);
      if (object !== undefined) objects.push({ object, where: at(offsetOf(document, path)) });
    }
  }
  return { objects, problems: problems.slice(0, PROBLEMS_MAX) };
}

/** Takes Lists apart: `kind: List`, or what `kubectl get -o yaml` writes. */
function* flatten(
  content: unknown,
  path: Path,
  report: (path: Path, message: string) => void,
  inherited: Fields = {},
): Iterable<{ path: Path; fields: Fields }> {
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    report(path, "must be a Kubernetes object with apiVersion, kind and metadata");
    return;
  }
  const fields: Fields = { ...inherited, ...content };
  const { kind, apiVersion, items } = fields;
  if (typeof kind !== "string" || kind === "") {
    report(path, "kind is missing: write kind: Service, EndpointSlice, Node or ServiceCIDR (others are ignored)");
  } else if (!kind.endsWith("List")) {
    yield { path, fields };
  } else if (!Array.isArray(items)) {
    report([...path, "items"], `${kind}: items must be a list`);
  } else if (path.length > 2 * LIST_DEPTH_MAX) {
    report(path, "lists inside lists inside lists: write the objects side by side, separated by ---");
  } else {
    // The items of a ServiceList need not say that they are Services.
    const item = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
    for (const [index, entry] of items.entries()) yield* flatten(entry, [...path, "items", index], report, item);
  }
}

function parseObject(
  fields: Fields,
  path: Path,
  report: (path: Path, message: string) => void,
): KubeObject | undefined {
  const kind = String(fields["kind"]);
  const id = kinds.get(kind);
  if (id === undefined) {
    const meant = kindMeant(kind, fields["apiVersion"]);
    if (meant !== undefined) report([...path, "kind"], `kind: ${kind} is no kind: write ${meant}`);
    return undefined;
  }
  const apiVersion = id.slice(0, id.lastIndexOf("/"));
  if (fields["apiVersion"] !== apiVersion) {
    // Another group's Service (serving.knative.dev) is none of ours; a missing or old version is a slip.
    const foreign = typeof fields["apiVersion"] === "string" && groupOf(fields["apiVersion"]) !== groupOf(apiVersion);
    if (!foreign) report([...path, "apiVersion"], `${kind}: apiVersion: must be ${apiVersion}`);
    return undefined;
  }
  const parsed = schemas[id].safeParse({ ...fields, metadata: withIdentity(kind, fields["metadata"]) });
  if (parsed.success) {
    const twice = portsTwice(parsed.data);
    for (const { at, message } of twice)
      report([...path, ...at], `${kind} ${parsed.data.metadata.name}: ${fieldName(at)}: ${message}`);
    return twice.length === 0 ? parsed.data : undefined;
  }
  const name = (fields["metadata"] as Fields | undefined)?.["name"];
  const subject = typeof name === "string" ? `${kind} ${name}` : kind;
  for (const issue of parsed.error.issues) {
    report([...path, ...issue.path], `${subject}: ${fieldName(issue.path)}: ${remedy(issue)}`);
  }
  return undefined;
}

/** "service" → "Service": an API server refuses it, so it must not be skipped like a kind that we do not use. */
function kindMeant(kind: string, apiVersion: unknown): string | undefined {
  const plain = kind.toLowerCase().replace(/s$/, "");
  for (const [known, id] of kinds) {
    if (known.toLowerCase() !== plain) continue;
    const group = groupOf(id.slice(0, id.lastIndexOf("/")));
    return typeof apiVersion === "string" && groupOf(apiVersion) !== group ? undefined : known;
  }
  return undefined;
}

/** What an API server refuses for being there twice: with it nobody could tell which of a Service's ports is which of a slice's. */
function portsTwice(object: KubeObject): { readonly at: Path; readonly message: string }[] {
  if (object.kind === "Node" || object.kind === "ServiceCIDR") return [];
  const isService = object.kind === "Service";
  const ports = isService ? object.spec.ports : object.ports;
  const [names, numbers] = [new Set<string>(), new Set<string>()];
  return ports.flatMap(({ name, port, protocol }, index) => {
    const at = [...(isService ? ["spec"] : []), "ports", index];
    const sameName = names.has(name);
    const sameNumber = isService && numbers.has(`${protocol} ${port}`);
    names.add(name);
    numbers.add(`${protocol} ${port}`);
    if (sameNumber)
      return [{ at: [...at, "port"], message: `${protocol} port ${port} is listed twice: take one away` }];
    if (!sameName && !(isService && ports.length > 1 && name === "")) return [];
    const message =
      name === "" ? "is needed: ports beside others have names" : `${name} is listed twice: each port has its own`;
    return [{ at: [...at, "name"], message }];
  });
}

/**
 * Hand-written objects have no uid and no creationTimestamp. Made up from kind and name, so that they are the same in
 * every agent, after each edit and each restart. All made-up objects are equally old; names then decide who came first.
 */
function withIdentity(kind: string, metadata: unknown): unknown {
  if (typeof metadata !== "object" || metadata === null) return metadata;
  const { uid, creationTimestamp, namespace, name } = metadata as Fields;
  const digest = createHash("sha256")
    .update(JSON.stringify([kind, namespace ?? "default", name]))
    .digest("hex");
  const parts = [digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`];
  return {
    ...metadata,
    uid: uid ?? [...parts, digest.slice(20, 32)].join("-"),
    creationTimestamp: creationTimestamp ?? "1970-01-01T00:00:00Z",
  };
}

/** "discovery.k8s.io/v1" → "discovery.k8s.io"; "v1" → "" */
const groupOf = (apiVersion: string): string => apiVersion.slice(0, Math.max(0, apiVersion.lastIndexOf("/")));

/** Where `path` is written, or the nearest thing around it that is written. */
function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
