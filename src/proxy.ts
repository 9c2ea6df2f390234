// The way of a tenant's request: match, refuse or order clusters, hand to a transport, answer. Matches and refuses from this
// isolate's tables (tables.ts); through a tunnel the request goes on as it came, so nothing is copied here.
import { Direct } from "./direct.ts";
import type { Env } from "./env.ts";
import { failure } from "./http/failure.ts";
import { ADMIN_LISTENER, type Forwarded } from "./http/forwarded.ts";
import { GENERATION_HEADER, UNSENT_HEADER } from "./http/internal.ts";
import { type Door, sourceAllowed } from "./routing/match.ts";
import { type Candidate, Tables } from "./tables.ts";
import { clientHash } from "./wire/hash.ts";

const tables = new Tables();
const direct = new Direct(Math.random);
/** Bodies that may have to go to a second cluster are read first, up to so many bytes. */
const REPEATABLE_BYTES = 64 * 1024;

/** A tenant's request as it came to the edge: who asks, by which door. */
interface Arrival {
  readonly request: Request;
  readonly client: string;
  readonly door: Door;
}

export async function proxy(
  request: Request,
  { client, scheme, port }: Forwarded,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const host = request.headers.get("host") ?? "";
  const door: Door = { host, scheme, port: port === ADMIN_LISTENER ? undefined : port };
  const arrival: Arrival = { request, client, door };
  let candidates = tables.find(door);
  const plan = tables.plan(candidates, Date.now());
  if (plan === "renew") ctx.waitUntil(tables.refresh(env, host));
  if (plan === "wait") {
    const refreshed = await tables.refresh(env, host);
    candidates = tables.find(door);
    if (!refreshed && tables.expired(candidates, Date.now())) return failure("not-programmed", request);
  }
  if (candidates.length === 0) return failure("no-such-listener", request);
  const response = await serve(arrival, candidates, env, ctx);
  // The object knows no such listener any more (or not yet): once more, from what the objects say now.
  if (response.headers.get(UNSENT_HEADER) !== "no-such-listener" || request.bodyUsed) return outward(response);
  await tables.refresh(env, host);
  candidates = tables.find(door);
  if (candidates.length === 0) return failure("no-such-listener", request);
  return outward(await serve(arrival, candidates, env, ctx));
}

/** Tries clusters in order until one has sent the request to a node. */
async function serve(
  arrival: Arrival,
  candidates: readonly Candidate[],
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const { request } = arrival;
  if (candidates.length === 1) return serveBy(arrival, candidates[0] as Candidate, env, ctx);
  const body = await repeatableBody(request);
  const repeat: RequestInit | undefined = body instanceof ArrayBuffer ? { body } : undefined;
  let response: Response | undefined;
  for (const candidate of ordered(candidates, Math.random)) {
    const again = repeat === undefined ? request : new Request(request, repeat);
    response = await serveBy({ ...arrival, request: again }, candidate, env, ctx);
    if (!response.headers.has(UNSENT_HEADER) || body === "stream") return response;
  }
  return response as Response;
}

async function serveBy(
  { request, client, door }: Arrival,
  { table, shards, match }: Candidate,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  if (!sourceAllowed(match, client)) return failure("source-refused", request);
  const { route } = match;
  if (route.unavailable !== undefined)
    return unsent(failure(route.unavailable.reason, request, { detail: route.unavailable.message }));
  if (route.transport === "direct" && table.index !== undefined)
    return direct.fetch(request, {
      match,
      table: table.index.table,
      probes: table.probes,
      client,
      scheme: door.scheme,
      forwarderSecret: env.FORWARDER_SECRET,
    });
  const shard = shards === 1 ? 0 : route.affinity ? clientHash(client) % shards : Math.floor(Math.random() * shards);
  const askedAt = Date.now();
  const response = await env.TUNNEL.getByName(`${table.name}/${shard}`).fetch(request);
  if (!tables.confirm(table, response.headers.get(GENERATION_HEADER), askedAt))
    ctx.waitUntil(tables.refresh(env, door.host));
  return response;
}

/** Lower priority values first; within one, shares by weight. */
export function ordered(candidates: readonly Candidate[], random: () => number): Candidate[] {
  return candidates
    .map((candidate) => ({
      candidate,
      key: candidate.member.weight > 0 ? -Math.log(1 - random()) / candidate.member.weight : Number.POSITIVE_INFINITY,
    }))
    .sort((a, b) => a.candidate.member.priority - b.candidate.member.priority || a.key - b.key)
    .map(({ candidate }) => candidate);
}

/** A small body as bytes; undefined: there is none; "stream": too large to be sent twice. */
async function repeatableBody(request: Request): Promise<ArrayBuffer | "stream" | undefined> {
  if (request.body === null) return undefined;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  return length <= REPEATABLE_BYTES ? request.arrayBuffer() : "stream";
}

function unsent(response: Response): Response {
  response.headers.set(UNSENT_HEADER, "1");
  return response;
}

/** Takes our own headers off. Wrapped without `encodeBody`: the platform passes encoded bytes on as they are. */
function outward(response: Response): Response {
  if (!response.headers.has(GENERATION_HEADER) && !response.headers.has(UNSENT_HEADER)) return response;
  const clean = new Response(response.body, response);
  clean.headers.delete(GENERATION_HEADER);
  clean.headers.delete(UNSENT_HEADER);
  return clean;
}
