// What the YAML asks this machine to run: an agent for each Node, a demo pod for each endpoint of a slice that is
// labelled so. Reads as little as that needs, and which files as the agents do (agent/source/files): hidden ones are none, a
// broken one is named and keeps its last good content while the others go on. The agents read the rest, and say what is
// wrong with it (their warnings are shown). Pure but for reading the folder.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { LineCounter, parseAllDocuments } from "yaml";
import { z } from "zod";
import { label } from "../shared/model/annotations.ts";

export interface WantedNode {
  readonly name: string;
  readonly address: string;
}

export interface WantedPod {
  readonly name: string;
  readonly node: string;
  readonly address: string;
  readonly ports: readonly number[];
}

export interface Wanted {
  readonly nodes: readonly WantedNode[];
  readonly pods: readonly WantedPod[];
}

const name = z.string().min(1).max(253);
const nodeSchema = z.object({
  kind: z.literal("Node"),
  metadata: z.object({ name }),
  status: z.object({ addresses: z.array(z.object({ type: z.string(), address: z.string() })) }),
});
const sliceSchema = z.object({
  kind: z.literal("EndpointSlice"),
  metadata: z.object({ labels: z.object({ [label.demoPods]: z.literal("true") }) }),
  ports: z.array(z.object({ port: z.int().min(1).max(65_535) })),
  endpoints: z
    .array(
      z.object({
        // Demo pods are for this machine alone; anything else in a slice is somebody's real endpoint.
        addresses: z.tuple([z.string().startsWith("127.")], z.string()),
        nodeName: z.string().default(""),
        targetRef: z.object({ name }),
      }),
    )
    .default([]),
});
const listSchema = z.object({ items: z.array(z.unknown()) });

/** As the agents have it. */
const FILES_MAX = 2_000;
const FILE_MAX_BYTES = 8 * 1024 * 1024;
const DEPTH_MAX = 16;

interface FileState {
  /** Of what was read. */
  readonly signature: string;
  readonly objects: readonly unknown[];
  /** Without a problem, now or before. */
  readonly good: boolean;
  /** Seen with another signature at the last look: read at the next one, if it is whole by then. */
  readonly changing?: string;
  /** Not seen at the last look: gone, if it stays away until the next one. Editors replace files so. */
  readonly missing?: true;
}

export class Manifests {
  readonly #folder: string;
  #files = new Map<string, FileState>();
  #looked = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Looks again. `problems`: those of files that are new or have changed: "web.yaml:3: not YAML: …". Undefined: no such folder. */
  look(): { readonly wanted: Wanted; readonly problems: readonly string[] } | undefined {
    const problems: string[] = [];
    let found: Map<string, string>;
    try {
      found = filesIn(this.#folder);
    } catch {
      return undefined;
    }
    const files = new Map<string, FileState>();
    for (const [name, signature] of found) {
      const before = this.#files.get(name);
      if (before?.signature === signature) {
        const { changing: _, missing: __, ...same } = before;
        files.set(name, same);
      } else if (this.#looked && before?.changing !== signature)
        files.set(name, { ...(before ?? { signature: "", objects: [], good: false }), changing: signature });
      else files.set(name, this.#read(name, signature, before, problems));
    }
    for (const [name, state] of this.#files)
      if (!found.has(name) && state.missing === undefined) files.set(name, { ...state, missing: true });
    this.#files = files;
    this.#looked = true;
    return { wanted: wantedOf([...files.values()].flatMap(({ objects }) => objects)), problems };
  }

  #read(name: string, signature: string, before: FileState | undefined, problems: string[]): FileState {
    const hadGood = before?.good ?? false;
    const { objects, problems: found } = readFile(join(this.#folder, name), name, hadGood);
    const kept = hadGood ? " (the last good content of this file stays in use)" : "";
    problems.push(...found.map((problem) => problem + kept));
    const good = found.length === 0;
    return { signature, objects: good || !hadGood ? objects : (before?.objects ?? []), good: good || hadGood };
  }
}

/** Path in `folder` → what changes when the file does. Throws where `folder` itself cannot be listed. */
function filesIn(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  const visit = (path: string, prefix: string, depth: number): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || files.size >= FILES_MAX) continue;
      const [inner, name] = [join(path, entry.name), prefix + entry.name];
      try {
        if (entry.isDirectory() && depth < DEPTH_MAX) visit(inner, `${name}/`, depth + 1);
        else if (/\.(ya?ml|json)$/i.test(entry.name)) {
          const facts = statSync(inner);
          if (facts.isFile()) files.set(name, `${facts.ino} ${facts.size} ${facts.mtimeMs} ${facts.ctimeMs}`);
        }
      } catch {
        // Gone between listing and looking, or not ours to read: the agents say so.
      }
    }
  };
  visit(folder, "", 0);
  return files;
}

function readFile(path: string, name: string, hadGood: boolean): { objects: unknown[]; problems: string[] } {
  const objects: unknown[] = [];
  const problems: string[] = [];
  try {
    if (statSync(path).size > FILE_MAX_BYTES)
      return { objects, problems: [`${name}: is larger than ${FILE_MAX_BYTES} bytes: split it`] };
    const text = readFileSync(path, "utf8");
    if (text === "" && hadGood) problems.push(`${name}: is empty. To remove its objects, delete the file`);
    const lines = new LineCounter();
    for (const document of parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })) {
      if (!("errors" in document)) continue;
      for (const { pos, message } of document.errors)
        problems.push(`${name}:${lines.linePos(pos[0]).line}: not YAML: ${message}`);
      if (document.errors.length === 0) objects.push(document.toJS({ maxAliasCount: 100 }));
    }
  } catch (error) {
    problems.push(`${name}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { objects, problems };
}

export function wantedOf(objects: readonly unknown[]): Wanted {
  const nodes: WantedNode[] = [];
  const pods = new Map<string, WantedPod>();
  for (const object of objects.flatMap((object) => listSchema.safeParse(object).data?.items ?? [object])) {
    const node = nodeSchema.safeParse(object).data;
    const address = node?.status.addresses.find(({ type }) => type === "InternalIP")?.address;
    if (node !== undefined && address !== undefined) nodes.push({ name: node.metadata.name, address });
    const slice = sliceSchema.safeParse(object).data;
    for (const endpoint of slice?.endpoints ?? []) {
      const { name } = endpoint.targetRef;
      const ports = [...(pods.get(name)?.ports ?? []), ...(slice?.ports ?? []).map(({ port }) => port)];
      pods.set(name, { name, node: endpoint.nodeName, address: endpoint.addresses[0], ports: [...new Set(ports)] });
    }
  }
  return { nodes, pods: [...pods.values()] };
}
