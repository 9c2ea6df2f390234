// The way of a tenant's request: match, refuse or order clusters, hand to a transport, answer. Matches and refuses from this
// isolate's tables (tables.ts); through a tunnel the request goes on as it came, so nothing is copied here.
import { Direct, type DirectOutcome } from "../direct/direct.ts";
import { effects } from "../effects.ts";
import type { Env } from "../env.ts";
import { failure } from "../http/failure.ts";
import { FORWARDED, type Forwarded, targetOf } from "../http/forwarded.ts";
import { GENERATION_HEADER, TRIES_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import { isIdempotent } from "../forward/retry.ts";
import { Trace } from "../forward/trace.ts";
import { type DialRules, dialRules } from "../routing/dial.ts";
import { type Door, sourceAllowed } from "../routing/match.ts";
import { accessLog, tables } from "./isolate.ts";
import type { Candidate } from "./tables.ts";
import { directAnswer, directExchange } from "../direct/fetch.ts";
import { tunnelName } from "../rpc/names.ts";
import type { LogRecord, LogTry } from "../../shared/control/access-log.ts";
import { clientHash } from "../../shared/balance/hash.ts";
import { DIRECT_SIGHTINGS } from "../../shared/http/repeat.ts";

const direct = new Direct({ ...effects, exchange: directExchange });
/** Of this deployment: the same for every request. */
let dial: DialRules | undefined;
/** Bodies that may have to go to a second cluster are read first, up to so many bytes. */
const REPEATABLE_BYTES = 64 * 1024;

/** After an answer that says which nodes were asked, its cluster's log counts as read for so long, ms. */
const WATCHED_MS = 5_000;

/** A tenant's request as it came to the edge: who asks, by which door. */
interface Arrival {
  readonly request: Request;
  readonly from: Forwarded;
  readonly door: Door;
  readonly env: Env;
  readonly ctx: ExecutionContext;
  readonly at: number;
  /** Its body, once it has been read so that it can be sent again. */
  bytes?: ArrayBuffer;
}

export async function proxy(
  request: Request,
  from: Forwarded,
  door: Door,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const { host } = door;
  const arrival: Arrival = { request, from, door, env, ctx, at: effects.now() };
  let candidates = tables.find(door);
  const plan = tables.plan(host, candidates, arrival.at);
  if (plan === "renew") ctx.waitUntil(tables.refresh(env, ctx, host));
  if (plan === "wait") {
    const refreshed = await tables.refresh(env, ctx, host);
    candidates = tables.find(door);
    if (!refreshed && tables.expired(host, effects.now())) return failure("not-programmed", request);
  }
  if (candidates.length === 0) return failure("no-such-listener", request);
  const served = await serve(arrival, candidates);
  // The object knows no such listener any more (or not yet): once more, from what the objects say now.
  if (served.unsent !== "no-such-listener") return outward(served);
  if (request.bodyUsed && arrival.bytes === undefined) return outward(served);
  await tables.refresh(env, ctx, host);
  candidates = tables.find(door);
  if (candidates.length === 0) return failure("no-such-listener", request);
  return outward(await serve(arrival, candidates));
}

/** What one cluster came to. */
interface Served {
  readonly response: Response;
  /** UNSENT_HEADER of a TunnelObject's answer. */
  readonly unsent?: string | null;
  /**
   * Whether another cluster may have it. "never": no node of this one saw it, and none is there that it could be sent to in
   * any case. "untried": the same, but nodes that are not available are left, as the last resort. A number: so many nodes may
   * have seen it. "final": this is the answer.
   */
  readonly seen: "final" | "never" | "untried" | number;
  /** Which nodes were asked, where somebody reads the cluster's access log. */
  readonly tries?: readonly LogTry[];
  /** Where that need not be the route's own. */
  readonly transport?: LogRecord["transport"];
}

/** Tries clusters in order until one has sent the request to a node. */
async function serve(arrival: Arrival, candidates: readonly Candidate[]): Promise<Served> {
  const { request, from } = arrival;
  const [only] = candidates;
  if (candidates.length === 1 && only !== undefined)
    return serveBy(arrival, copyOf(arrival), only, DIRECT_SIGHTINGS, true);
  if (!(await readBody(arrival))) return final(clientGone());
  const replayable = request.body === null || arrival.bytes !== undefined;
  const repeatable = !from.again && replayable && isIdempotent(request.method, request.headers);
  const untried: Candidate[] = [];
  let seen = 0;
  let served: Served | undefined;
  for (const [clusters, lastResort] of [
    [ordered(candidates, effects.random), false] as const,
    [untried, true] as const,
  ])
    for (const candidate of clusters) {
      if (seen >= DIRECT_SIGHTINGS && candidate.match.route.transport === "direct") continue;
      const mine = seen > 0 ? asRepeat(copyOf(arrival)) : copyOf(arrival);
      served = await serveBy(arrival, mine, candidate, DIRECT_SIGHTINGS - seen, lastResort);
      if (served.seen === "final") return served;
      if (served.seen === "untried") untried.push(candidate);
      if (typeof served.seen === "number") seen += served.seen;
      if (seen > 0 && !repeatable) return served;
      // A large body that one cluster has begun to read is gone for the next.
      if (request.bodyUsed && arrival.bytes === undefined) return served;
    }
  return served as Served;
}

/** For a TunnelObject: so that it and the agent send it once. */
function asRepeat(request: Request): Request {
  // A copy keeps the bytes of values that are no text.
  const headers = new Headers(request.headers);
  headers.set(FORWARDED.again, "1");
  return new Request(request, { headers });
}

/** The request, with its body from the beginning where that was read. */
function copyOf({ request, bytes }: Arrival): Request {
  if (bytes === undefined) return request;
  const whole: RequestInit = { body: bytes };
  return new Request(request, whole);
}

/** Each cluster has what it did itself in its access log, and nothing of another's nodes. */
async function serveBy(
  arrival: Arrival,
  request: Request,
  candidate: Candidate,
  sightings: number,
  lastResort: boolean,
): Promise<Served> {
  const served = await serveWith(arrival, request, candidate, sightings, lastResort);
  const { response, unsent, tries, transport = candidate.match.route.transport } = served;
  if (tries === undefined && candidate.table.watchedUntil <= arrival.at) return served;
  // Its table is behind: it is asked once more.
  if (unsent === "no-such-listener") return served;
  const { from, env, ctx, at: arrivedAt } = arrival;
  const target = targetOf(arrival.request, env.FORWARDER_SECRET);
  accessLog.add({ request, from, target, candidate, arrivedAt, response, tries: tries ?? [], transport }, env, ctx);
  return served;
}

async function serveWith(
  arrival: Arrival,
  request: Request,
  candidate: Candidate,
  sightings: number,
  lastResort: boolean,
): Promise<Served> {
  const { from, env } = arrival;
  const { match, table, index } = candidate;
  if (!sourceAllowed(match, from.client)) return final(failure("source-refused", request));
  const { route } = match;
  if (route.unavailable !== undefined) {
    const { reason, message } = route.unavailable;
    return { response: failure(reason, request, { detail: message }), seen: "never" };
  }
  if (route.transport === "tunnel") return await byTunnel(arrival, request, candidate);
  dial ??= dialRules(env);
  const trace = table.watchedUntil > arrival.at ? new Trace(effects.now) : undefined;
  const outcome = await direct.fetch(request, {
    match,
    table: index.table,
    probes: table.probes,
    cluster: table,
    dial,
    client: from.client,
    scheme: from.scheme,
    forwarderSecret: env.FORWARDER_SECRET,
    target: targetOf(request, env.FORWARDER_SECRET),
    trusted: from.trusted,
    again: from.again,
    sightings,
    lastResort,
    trace,
  });
  if (outcome === "by-tunnel") return await byTunnel(arrival, request, candidate);
  const served = byDirect(outcome, request, lastResort);
  return trace === undefined ? served : { ...served, tries: trace.tries };
}

function byDirect(outcome: Exclude<DirectOutcome, "by-tunnel">, request: Request, lastResort: boolean): Served {
  if (outcome === "client-gone") return final(clientGone());
  if (outcome === "none-available")
    return { response: failure("no-available-node", request), seen: lastResort ? "never" : "untried" };
  if (outcome instanceof Response) return final(directAnswer(outcome) ?? failure("bad-gateway-answer", request));
  if (!("ok" in outcome)) return final(failure(outcome.reason, request, outcome));
  return { response: failure("endpoint-broke", request), seen: outcome.sightings };
}

async function byTunnel(
  { from, door, env, ctx }: Arrival,
  request: Request,
  { table, shards, match: { route } }: Candidate,
): Promise<Served> {
  const shard =
    shards === 1 ? 0 : route.affinity ? clientHash(from.client) % shards : Math.floor(effects.random() * shards);
  const askedAt = effects.now();
  const response = await env.TUNNEL.getByName(tunnelName(table.name, shard)).fetch(request);
  const { headers } = response;
  const generation = headers.get(GENERATION_HEADER);
  const unsent = headers.get(UNSENT_HEADER);
  if (!tables.confirm(table, generation, askedAt)) ctx.waitUntil(tables.refresh(env, ctx, door.host));
  const tries = generation === null ? null : headers.get(TRIES_HEADER);
  const seen = unsent === null ? "final" : "never";
  if (tries === null) return { response, unsent, seen };
  // What no TunnelObject sees, because it is refused here, is for the log as well.
  table.watchedUntil = Math.max(table.watchedUntil, askedAt + WATCHED_MS);
  return { response, unsent, seen, tries: JSON.parse(tries) as LogTry[], transport: "tunnel" };
}

const final = (response: Response): Served => ({ response, seen: "final" });

/** nginx's word for it; nobody is there to read it. */
const clientGone = (): Response => new Response(null, { status: 499 });

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

/**
 * Reads a small body, so that it can be sent to a second cluster. A large one, or a GET's, can be sent once, as it comes. False:
 * the client broke off.
 */
async function readBody(arrival: Arrival): Promise<boolean> {
  const { request } = arrival;
  if (request.body === null || request.method === "GET" || request.method === "HEAD") return true;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  if (arrival.bytes !== undefined || !(length <= REPEATABLE_BYTES)) return true;
  try {
    arrival.bytes = await request.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Takes our own headers off; by direct none is left. Wrapped without `encodeBody`: the platform passes encoded bytes on as they are. */
function outward({ response }: Served): Response {
  if (!response.headers.has(GENERATION_HEADER) && !response.headers.has(UNSENT_HEADER)) return response;
  const clean = new Response(response.body, response);
  clean.headers.delete(GENERATION_HEADER);
  clean.headers.delete(UNSENT_HEADER);
  clean.headers.delete(TRIES_HEADER);
  return clean;
}
