// The file in which a person's edges are kept, as kubectl keeps clusters: what may stand in it, and how it changes. Pure.
import { z } from "zod";
import { isNearby } from "../../src/shared/net/nearby.ts";

const edgeUrlSchema = z
  .url({ protocol: /^https?$/, error: "must be the URL of an edge's admin host, such as https://postern.example.com" })
  .refine((text) => !URL.canParse(text) || new URL(text).protocol === "https:" || isNearby(new URL(text).hostname), {
    message: "must be https://, since a token goes there; http:// is for this machine and private networks",
  });

const contextSchema = z.strictObject({
  /** What a person calls it. */
  name: z.string().regex(/^[\w.-]{1,64}$/, "must be of letters, digits, dots, dashes and underscores, 64 at most"),
  edge: edgeUrlSchema,
  /** The admin's, or a cluster's. */
  token: z.string().min(1).max(1024),
  /** The one that commands mean where none is named. */
  cluster: z.string().min(1).max(32).optional(),
});
export type Context = z.infer<typeof contextSchema>;

export const configSchema = z.strictObject({
  current: z.string().optional(),
  contexts: z
    .array(contextSchema)
    .max(100)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, { message: "a name may be there once" })
    .default([]),
});
export type Config = z.infer<typeof configSchema>;

export const emptyConfig: Config = { contexts: [] };

/** It replaces one of its name, and is the current one from now on. */
export const withContext = ({ contexts }: Config, context: Context): Config => ({
  current: context.name,
  contexts: [...contexts.filter(({ name }) => name !== context.name), context],
});

export function withoutContext({ current, contexts }: Config, name: string): Config {
  const left = contexts.filter((each) => each.name !== name);
  return { ...(current === undefined || current === name ? {} : { current }), contexts: left };
}

export const contextNamed = ({ contexts }: Config, name: string): Context | undefined =>
  contexts.find((each) => each.name === name);

/** What the environment says; an empty variable says nothing. */
export interface Environment {
  readonly POSTERN_EDGE?: string | undefined;
  readonly POSTERN_TOKEN?: string | undefined;
  readonly POSTERN_CLUSTER?: string | undefined;
  readonly POSTERN_CONTEXT?: string | undefined;
}

/** What the command line says. */
export interface Chosen {
  readonly edge?: string | undefined;
  readonly context?: string | undefined;
}

export type Target = Omit<Context, "name">;
export type Found = { readonly target: Target } | { readonly wrong: string; readonly next: string };

/** Which edge is meant: flags win over the environment, which wins over the file. */
export function targetOf(config: Config, chosen: Chosen, environment: Environment): Found {
  const set = (text: string | undefined): string | undefined => (text === "" ? undefined : text);
  const name = chosen.context ?? set(environment.POSTERN_CONTEXT) ?? config.current;
  const kept = name === undefined ? undefined : contextNamed(config, name);
  const isNamed = chosen.context !== undefined || set(environment.POSTERN_CONTEXT) !== undefined;
  if (isNamed && kept === undefined) return { wrong: `there is no context ${name}`, next: "postern context list" };
  const edge = chosen.edge ?? set(environment.POSTERN_EDGE) ?? kept?.edge;
  if (edge === undefined) return { wrong: "no edge is known", next: "postern login https://postern.example.com" };
  const parsed = edgeUrlSchema.safeParse(edge);
  if (!parsed.success) return { wrong: `--edge ${edge}: ${parsed.error.issues[0]?.message}`, next: "postern --help" };
  // A kept token is for the edge that it was kept with, and goes to no other.
  const isKeptEdge = kept !== undefined && sameEdge(kept.edge, edge);
  const token = set(environment.POSTERN_TOKEN) ?? (isKeptEdge ? kept.token : undefined);
  if (token === undefined) return { wrong: `no token for ${edge} is known`, next: `postern login ${edge}` };
  const cluster = set(environment.POSTERN_CLUSTER) ?? (isKeptEdge ? kept.cluster : undefined);
  return { target: { edge, token, ...(cluster === undefined ? {} : { cluster }) } };
}

const sameEdge = (a: string, b: string): boolean => new URL(a).href === new URL(b).href;
