// One agent's connection as the edge sees it, over two real sessions and a scripted socket: silence, a full socket, streams that
// do not end, and its own end. A set clock.
import { expect, test } from "vitest";
import { type Exchange, Link, type LinkOwner } from "../../../src/edge/tunnel/link.ts";
import { BUDGET, SOCKET_BUFFER_MAX, SUSPECT_MS } from "../../../src/shared/wire/limits.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello } from "../../shared/wire/link.ts";
import { head } from "../../shared/wire/pair.ts";
import { Clock } from "../forward/clock.ts";

class Stream implements Exchange {
  waitingSince = Number.NaN;
  readonly told: string[] = [];
  onHead = (): void => void this.told.push("head");
  onData = (): void => void this.told.push("data");
  onMessage = (): void => {};
  onClose = (): void => {};
  onReset = (code: Reset, _reason: string, lost: boolean): void =>
    void this.told.push(`${code === Reset.NOT_SENT ? "not sent" : "reset"}${lost ? ", lost" : ""}`);
  onDrained = (): void => void this.told.push("drained");
  onWait = (): void => {};
  onSuspect = (): void => void this.told.push("suspect");
  onOverdue = (): void => void this.told.push("overdue");
}

class Stage {
  readonly clock = new Clock(0);
  readonly node = new Session({ role: "node", hello: nodeHello });
  readonly atNode: SessionEvent[] = [];
  readonly told: string[] = [];
  readonly socket = {
    bufferedAmount: 0,
    send: (message: Uint8Array) => void this.atNode.push(...this.node.receive(message)),
  };
  readonly link: Link;

  constructor() {
    const session = new Session({ role: "edge", hello: edgeHello, budget: { held: 0, limit: BUDGET } });
    const owner: LinkOwner = {
      effects: { now: this.clock.now, random: () => 0, later: this.clock.later },
      onHello: () => void this.told.push("hello"),
      onGoAway: () => void this.told.push("goaway"),
      onLiveness: (link) => void this.told.push(link.suspect ? "suspect" : "well"),
      onFatal: () => void this.told.push("fatal"),
      onUnsaved: (link) => void link.session.save(),
      onExhausted: () => void this.told.push("exhausted"),
    };
    this.link = new Link(owner, session, this.socket, "token", 0);
    this.flow();
    this.told.length = 0;
  }

  open(): Stream {
    const stream = new Stream();
    this.link.open(stream, head, undefined, true, this.clock.time);
    return stream;
  }

  /** What the node has to say arrives. */
  flow(): void {
    for (let each = this.node.take(65_536); each !== undefined; each = this.node.take(65_536))
      this.link.receive(Uint8Array.from(each).buffer, this.clock.time);
  }

  sweepAt(time: number): void {
    this.clock.time = time;
    this.link.sweep(time);
  }

  pings(): number {
    return this.node.take(65_536) === undefined ? 0 : 1;
  }
}

test("silence while a request waits: first a PING, then suspicion, and any frame ends it", () => {
  const stage = new Stage();
  const stream = stage.open();
  stage.sweepAt(SUSPECT_MS - 1);
  expect(stage.pings()).toBe(0);
  stage.sweepAt(SUSPECT_MS);
  expect([stage.told, stage.link.suspect]).toEqual([[], false]);
  stage.sweepAt(2 * SUSPECT_MS - 1);
  expect(stage.link.suspect).toBe(false);
  stage.sweepAt(2 * SUSPECT_MS);
  stage.sweepAt(2 * SUSPECT_MS + 1);
  // The owner once, the stream at each look.
  expect([stage.told, stream.told]).toEqual([["suspect"], ["suspect", "suspect"]]);
  // The PONG.
  stage.flow();
  expect([stage.told, stage.link.suspect]).toEqual([["suspect", "well"], false]);
});

test("a node that nobody waits for is never suspect", () => {
  const stage = new Stage();
  stage.open();
  stage.node.respond(1, { status: 200, headers: [] }, undefined, false);
  stage.flow();
  expect(stage.link.waiting).toBe(0);
  for (let time = 0; time < 60_000; time += 250) stage.sweepAt(time);
  expect(stage.told).toEqual([]);
  expect(stage.pings()).toBe(0);
});

test("silence counts from when the oldest request began to wait", () => {
  const stage = new Stage();
  stage.clock.time = 60_000;
  stage.open();
  stage.sweepAt(60_000 + SUSPECT_MS - 1);
  expect(stage.pings()).toBe(0);
  stage.sweepAt(60_000 + SUSPECT_MS);
  expect(stage.pings()).toBe(1);
});

test("a socket that is full is looked at again until it has room", async () => {
  const stage = new Stage();
  stage.socket.bufferedAmount = SOCKET_BUFFER_MAX;
  stage.open();
  await stage.clock.pass(100);
  expect(stage.atNode.filter(({ type }) => type === "open")).toEqual([]);
  expect(stage.clock.waiting).toBe(1);
  stage.socket.bufferedAmount = 0;
  await stage.clock.pass(2);
  expect(stage.atNode.filter(({ type }) => type === "open")).toHaveLength(1);
  expect(stage.clock.waiting).toBe(0);
});

test("an end that should come at once and does not: the stream is told after five seconds", () => {
  const stage = new Stage();
  const stream = stage.open();
  stage.node.respond(1, { status: 204, headers: [] }, undefined, false);
  stage.flow();
  stage.link.expectEnd(1);
  stage.sweepAt(4_999);
  expect(stream.told).toEqual(["head"]);
  stage.sweepAt(5_000);
  expect(stream.told).toEqual(["head", "overdue"]);
});

test("a connection that ends: each stream is told once, and what never left was not sent", () => {
  const stage = new Stage();
  const sent = stage.open();
  stage.socket.bufferedAmount = SOCKET_BUFFER_MAX;
  const waiting = stage.open();
  stage.link.close(Reset.BROKE, "gone");
  stage.link.close(Reset.BROKE, "gone");
  expect([sent.told, waiting.told]).toEqual([["reset, lost"], ["not sent, lost"]]);
  expect([stage.link.usable, stage.link.waiting]).toEqual([false, 0]);
});

test("a stream that its owner gives up is told nothing more", () => {
  const stage = new Stage();
  const stream = stage.open();
  stage.link.release(1, Reset.CANCELLED, "not wanted");
  stage.node.respond(1, { status: 200, headers: [] }, undefined, true);
  stage.flow();
  stage.link.close(Reset.BROKE, "gone");
  expect(stream.told).toEqual([]);
  expect(stage.atNode.filter(({ type }) => type === "reset")).toHaveLength(1);
});

test("GOAWAY: no new streams, the open ones go on", () => {
  const stage = new Stage();
  const stream = stage.open();
  stage.node.goAway("drain", false);
  stage.flow();
  expect([stage.told, stage.link.usable]).toEqual([["goaway"], false]);
  stage.node.respond(1, { status: 200, headers: [] }, undefined, true);
  stage.flow();
  expect(stream.told).toEqual(["head"]);
});
