// A session alone, in a given state, and the frames that a peer by hand may send it.
import { Type } from "../../../src/shared/wire/frames.ts";
import { encodeRequestHead, encodeResponseHead } from "../../../src/shared/wire/messages.ts";
import { type Budget, Session } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello, type Side } from "./link.ts";
import { raw, encodeFrames } from "./oracle.ts";
import { KIB, head } from "./pair.ts";

export const open = (id: number, flags = 0, websocket = false) =>
  raw(id, Type.OPEN | flags, encodeRequestHead({ ...head, websocket }));
export const answer = (id: number, flags = 0, status = 200) =>
  raw(id, Type.HEAD | flags, encodeResponseHead({ status, headers: [] }));
export const data = (id: number, size: number, flags = 0) => raw(id, Type.DATA | flags, new Uint8Array(size));
export const hello: Record<Side, Uint8Array> = {
  // What the peer of this role says.
  edge: raw(0, Type.HELLO, nodeHello),
  node: raw(0, Type.HELLO, edgeHello),
};

/** The session of a role, under test, with all that it ever had to say. */
export function under(side: Side, budget?: Budget): Session {
  return new Session({
    role: side,
    hello: side === "edge" ? edgeHello : nodeHello,
    ...(budget === undefined ? {} : { budget }),
  });
}

export const repeated = (times: number, flags: number, size: number): Uint8Array =>
  encodeFrames(Array.from({ length: times }, () => ({ stream: 0, flags, payload: new Uint8Array(size) })));

export const flush = (session: Session): Uint8Array[] => {
  const messages: Uint8Array[] = [];
  for (let each = session.take(64 * KIB); each !== undefined; each = session.take(64 * KIB)) messages.push(each);
  return messages;
};

/** An edge that is connected and has opened streams 1 (HTTP) and 2 (WebSocket). */
export function edgeWithStreams(): Session {
  const session = under("edge");
  session.receive(hello.edge);
  session.openStream(head, undefined, false);
  session.openStream({ ...head, websocket: true }, undefined, false);
  flush(session);
  return session;
}

/** A node that has agreed to a WebSocket, stream 1. */
export function nodeWithWebSocket(): Session {
  const session = connected("node")();
  session.receive(open(1, 0, true));
  session.respond(1, { status: 101, headers: [] }, undefined, false);
  flush(session);
  return session;
}

export const fresh = (side: Side) => () => under(side);
export const connected = (side: Side) => () => {
  const session = under(side);
  session.receive(hello[side]);
  flush(session);
  return session;
};
