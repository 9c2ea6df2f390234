// What the YAML asks this machine to run: an agent for each Node, a demo pod for each endpoint of a slice that is
// labelled so. Reads as little as that needs; the agents read the rest, and say what is wrong with it (their warnings
// are shown). Pure but for reading the folder.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";

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
  metadata: z.object({ labels: z.object({ "postern.dev/demo-pods": z.literal("true") }) }),
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

/** Undefined while a file is broken or half-written: then nothing is started or stopped. */
export function readWanted(folder: string): Wanted | undefined {
  const objects: unknown[] = [];
  try {
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (!/\.(ya?ml|json)$/.test(file)) continue;
      for (const document of parseAllDocuments(readFileSync(join(folder, file), "utf8"))) {
        if ("errors" in document && document.errors.length > 0) return undefined;
        objects.push(document.toJS());
      }
    }
  } catch {
    return undefined;
  }
  return wantedOf(objects);
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
