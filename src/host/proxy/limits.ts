// What a client of the listener proxy may take, in milliseconds and pieces. Pure numbers; tests set their own.
import { readFileSync } from "node:fs";

export interface Limits {
  /** For the head of a request, and for a connection that sends nothing. A body may take hours. */
  readonly headMs: number;
  /** After a client's FIN that closely follows its request (a half-close): for how long no byte of the answer may come. */
  readonly halfClosedMs: number;
  /** After any other FIN: such a client has most likely left. */
  readonly leftMs: number;
  /** For how long the rest of a request is read and thrown away after its answer, so that the client reads the answer. */
  readonly lingerMs: number;
  /** How long to wait for the owner's word that the edge's process ended, when a connection to it broke. */
  readonly wordMs: number;
  /** Connections of one source: an IPv4 address, an IPv6 /64. Loopback and trusted proxies have no such limit. */
  readonly perSource: number;
  /** Connections altogether. */
  readonly connections: number;
  /** Requests that wait on one connection for the answers before them. */
  readonly pipelined: number;
}

export const limits: Limits = {
  headMs: 60_000,
  halfClosedMs: 10_000,
  leftMs: 1_000,
  lingerMs: 5_000,
  wordMs: 1_000,
  perSource: 1_024,
  // Each takes up to two file descriptors here and one in workerd, which ends when it has none left.
  connections: Math.min(16_384, Math.floor(openFilesMax() / 3)),
  pipelined: 256,
};

/** Of this process; Linux only, elsewhere as if without limit. */
function openFilesMax(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity);
  } catch {
    return Infinity;
  }
}
