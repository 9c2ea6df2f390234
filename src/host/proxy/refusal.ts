// An answer of the listener proxy itself, written past node:http: it may stand in for an answer that node has half composed,
// and may go to a socket that node has let go of. Always the connection's last.
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type FailureReason, failureParts } from "../../edge/http/failure.ts";

export interface Refusal {
  readonly reason: FailureReason;
  /** Safe for strangers; absent: what the reason means. */
  readonly detail?: string | undefined;
  /** What is known of the request: nothing where it could not be read. */
  readonly method?: string | undefined;
  readonly accept?: string | undefined;
  readonly requestId?: string;
}

/** Answers and ends; what the client still sends is read for `lingerMs`, because unread bytes would reset the answer away. */
export function refuse(socket: Duplex, refusal: Refusal, lingerMs: number): void {
  if (socket.destroyed || socket.writableEnded) return;
  const { reason, detail, method, accept = "", requestId = randomUUID() } = refusal;
  const { status, headers, body } = failureParts(reason, accept, requestId, detail);
  const bytes = Buffer.from(body);
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  head += `content-length: ${bytes.length}\r\nconnection: close\r\n\r\n`;
  socket.end(method === "HEAD" ? head : Buffer.concat([Buffer.from(head), bytes]));
  destroyLater(socket, lingerMs);
}

/** Ends what the other side does not end itself. */
export function destroyLater(socket: Duplex, lingerMs: number): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once("close", () => clearTimeout(timer));
}

const beforeAnyServer: ReadonlySet<string> = new Set<FailureReason>([
  "no-such-listener",
  "source-refused",
  "no-endpoints",
  "no-eligible-nodes",
  "no-available-node",
  "not-programmed",
]);

/** Whether the Worker refused for this `reason` before any server had the request. A server cannot say so: the Worker drops its word. */
export const isBeforeAnyServer = (reason: string): boolean => beforeAnyServer.has(reason);
