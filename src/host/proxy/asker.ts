// Who asks: the peer of the connection, or, where the peer is a proxy that the owner trusts, the client that it names.
// Of a stranger's X-Forwarded-For nothing is believed. Pure.
import { isIP } from "node:net";

export interface Asker {
  /** "" unknown. */
  readonly client: string;
  /** Asked with https at the proxy in front. */
  readonly secure: boolean;
  /** Came through a trusted proxy. */
  readonly trusted: boolean;
}

/** `peer`: the connection's other end. `raw`: the request's lines, [name, value, …]. */
export function askerOf(
  peer: string | undefined,
  raw: readonly string[],
  trusts?: (address: string) => boolean,
): Asker {
  const client = plainAddress(peer ?? "");
  if (trusts === undefined || !trusts(client)) return { client, secure: false, trusted: false };
  const told = linesOf(raw);
  const hops = told["x-forwarded-for"].length > 0 ? told["x-forwarded-for"].map(addressOf) : told.forwarded.map(forOf);
  const scheme = told["x-forwarded-proto"].at(-1) ?? parameter(told.forwarded.at(-1) ?? "", "proto");
  return { client: nearestStranger(client, hops, trusts), secure: scheme?.toLowerCase() === "https", trusted: true };
}

/** 127.0.0.1, not ::ffff:127.0.0.1. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

/**
 * Each proxy appends who asked it: from the right, the first that is not trusted is the client. Where a trusted one says no
 * address, there is nobody farther than itself.
 */
function nearestStranger(
  peer: string,
  hops: readonly (string | undefined)[],
  trusts: (address: string) => boolean,
): string {
  let client = peer;
  for (const hop of hops.toReversed()) {
    if (hop === undefined) break;
    client = hop;
    if (!trusts(hop)) break;
  }
  return client;
}

/** All elements of the lists, in order. */
function linesOf(raw: readonly string[]) {
  const lines = { "x-forwarded-for": [] as string[], "x-forwarded-proto": [] as string[], forwarded: [] as string[] };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]?.toLowerCase() ?? "";
    if (name !== "x-forwarded-for" && name !== "x-forwarded-proto" && name !== "forwarded") continue;
    for (const element of (raw[i + 1] ?? "").split(",")) lines[name].push(element.trim());
  }
  return lines;
}

/** RFC 7239: `for="[2001:db8::1]:4711";proto=https` */
function forOf(element: string): string | undefined {
  return addressOf(parameter(element, "for") ?? "");
}

function parameter(element: string, name: string): string | undefined {
  for (const pair of element.split(";")) {
    const [key = "", value = ""] = pair.split("=", 2);
    if (key.trim().toLowerCase() === name) return value.trim().replace(/^"(.*)"$/, "$1");
  }
  return undefined;
}

/** An address, with or without a port: "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1". */
function addressOf(text: string): string | undefined {
  const [, bracketed] = /^\[([^\]]*)\](?::\d+)?$/.exec(text) ?? [];
  const bare = bracketed ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = plainAddress(bare);
  return isIP(address) === 0 || address.includes("%") ? undefined : address;
}
