// One request traced: what each hop answered and how long it took, from the client's end; and the first hop, seen from the endpoint,
// whose answer is another than what the hop behind it gave. Pure.
import { webAddress } from "../output.ts";
import type { ClientSide, ListenerAsk, Traced } from "./facts.ts";

export interface TraceHop {
  readonly hop: "name" | "connection" | "tls" | "way" | "edge" | "node" | "endpoint";
  /** Own time, without that of the hops behind it; absent: unknown. */
  readonly ms?: number;
  readonly said: string;
}

export interface TraceReport {
  readonly id: string;
  readonly service: string;
  readonly url: string;
  readonly hops: readonly TraceHop[];
  /** The first hop, from the endpoint outward, that did not hand on what it was given; absent: every hop did. */
  readonly differs?: string;
}

const whole = (ms: number): number => Math.max(0, Math.round(ms));

export function traceReport(traced: Traced): TraceReport {
  const { where, id, client } = traced;
  const { service, hostname, port, tls } = where;
  const url = `${webAddress(hostname, port, tls)}/`;
  const hops = [...clientHops(client, where), ...edgeHops(traced)];
  const differs = differing(traced);
  return { id, service, url, hops, ...(differs === undefined ? {} : { differs }) };
}

function clientHops(client: ClientSide, { hostname, port }: ListenerAsk): TraceHop[] {
  const { lookupMs, connectMs, handshakeMs, address = "?" } = client;
  return [
    ...(lookupMs === undefined ? [] : [{ hop: "name" as const, ms: lookupMs, said: `${hostname} is ${address}` }]),
    ...(connectMs === undefined
      ? []
      : [{ hop: "connection" as const, ms: connectMs, said: `TCP to ${address} port ${port}` }]),
    ...(handshakeMs === undefined ? [] : [{ hop: "tls" as const, ms: handshakeMs, said: "TLS handshake" }]),
    ...(client.failed === undefined ? [] : [{ hop: "way" as const, said: client.failed }]),
  ];
}

function edgeHops({ client, record, unread }: Traced): TraceHop[] {
  if (record === undefined) {
    const said = unread === undefined ? "its log has no such request" : `its log could not be read: ${unread}`;
    return client.status === undefined ? [] : [{ hop: "edge", said: `${answerText(client)}; ${said}` }];
  }
  const { ms, tries, transport, status, reason } = record;
  const hops: TraceHop[] = [];
  if (client.answerMs !== undefined)
    hops.push({ hop: "way", ms: whole(client.answerMs - ms), said: "from here to the edge and back" });
  const own = ms - tries.reduce((sum, each) => sum + each.ms, 0);
  hops.push({ hop: "edge", ms: whole(own), said: `answered ${answerText({ status, reason: reason ?? undefined })}` });
  for (const [at, { node, ms: took, outcome, endpoint, sentAfterMs = 0, answeredAfterMs = 0 }] of tries.entries()) {
    const after = at === tries.length - 1 ? "" : ", and another node was asked";
    const said = `${node} by ${transport}: ${outcome}${after}`;
    hops.push({ hop: "node", ms: whole(took - answeredAfterMs), said });
    if (endpoint !== undefined) {
      const waited = sentAfterMs > 0 ? `, ${sentAfterMs} ms after the node had it` : "";
      hops.push({ hop: "endpoint", ms: answeredAfterMs, said: `${endpoint} answered ${outcome}${waited}` });
    }
  }
  return hops;
}

const answerText = ({ status, reason }: { status?: number | undefined; reason?: string | undefined }): string =>
  reason === undefined ? String(status) : `${status} ${reason}`;

function differing({ client, record, unread }: Traced): string | undefined {
  if (record === undefined) {
    if (client.failed !== undefined) return `way: the client got no answer: ${client.failed}`;
    if (unread !== undefined) return undefined;
    return `edge: the client got ${answerText(client)}, and the edge has seen no such request`;
  }
  const { reason, status, tries } = record;
  const last = tries.at(-1);
  if (reason !== null) {
    if (last === undefined) return `edge: it answered ${status} ${reason}, and asked no node`;
    return `node ${last.node}: ${last.outcome}, so the edge answered ${status} ${reason}`;
  }
  if (client.status !== undefined && client.status !== status)
    return `way: the edge answered ${status}, and the client got ${answerText(client)}`;
  return client.failed === undefined
    ? undefined
    : `way: the edge answered ${status}, and the client got none: ${client.failed}`;
}
