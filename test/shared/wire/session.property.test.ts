// Random commands on two joined sessions, judged by the model: every stream's bytes arrive once, in order, complete or ended
// by a reset; nothing sticks; credit, memory and drained are as promised; the edge may lose its memory at any moment.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import * as limits from "../../../src/shared/wire/limits.ts";
import { type RequestHead, Reset } from "../../../src/shared/wire/messages.ts";
import { type Budget, Session, type SessionState } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello, other, seeded, type Side, SimulatedLink } from "./link.ts";
import { content, Model, type ModelStream } from "./model.ts";

const head: RequestHead = {
  websocket: false,
  service: "default/web",
  port: 80,
  client: "192.0.2.1",
  method: "GET",
  target: "/",
  headers: ["host", "web"],
  sightings: 2,
};
const SIDES: readonly Side[] = ["edge", "node"];
const TEXT = "aé€😀";
/** Sizes of a body chunk or message: nothing, a little, around each limit, several windows. */
const SIZES = [0, 1, 900, 16_384, 65_535, 65_536, 65_537, 150_000, 400_000];
const ENDING_CODES = [Reset.CANCELLED, Reset.BROKE, Reset.DONE, Reset.TIMEOUT, Reset.NOT_SENT];

class World {
  readonly model = new Model();
  readonly link: SimulatedLink;
  readonly budget: Record<Side, Budget>;
  readonly #random: () => number;
  #saved: SessionState;
  #probes = 0;

  constructor(seed: number, budgetLimit: number) {
    this.#random = seeded(seed);
    this.budget = { edge: { held: 0, limit: budgetLimit }, node: { held: 0, limit: budgetLimit } };
    const sessions = {
      edge: new Session({ role: "edge", hello: edgeHello, budget: this.budget.edge }),
      node: new Session({ role: "node", hello: nodeHello, budget: this.budget.node }),
    };
    this.link = new SimulatedLink(sessions, this.#random, (side, events) => {
      for (const event of events) this.model.on(side, event);
    });
    this.link.settle();
    this.#saved = this.link.sessions.edge.save();
  }

  do([kind, a, b, c]: Command): void {
    const side = SIDES[c % 2] as Side;
    const session = this.link.sessions[side];
    const size = SIZES[b % SIZES.length] as number;
    switch (kind) {
      case "open":
        return this.#open(a % 4 === 0, size, b % 3 === 0);
      case "probe":
        return this.#probe();
      case "respond": {
        const stream = pick(this.model.live("node"), a, (each) => each.answered === undefined);
        if (stream !== undefined) this.#respond(stream, size, b % 3 === 0, c % 4 === 0);
        return;
      }
      case "write": {
        const stream = pick(this.model.live(side), a, (each) => each.maySend(side, "body"));
        if (stream !== undefined) this.#write(side, stream, size, b % 7 === 0);
        return;
      }
      case "message": {
        const stream = pick(this.model.live(side), a, (each) => each.maySend(side, "message"));
        if (stream !== undefined) this.#message(side, stream, size, b % 2 === 0);
        return;
      }
      case "close": {
        const stream = pick(this.model.live(side), a, (each) => each.maySend(side, "message"));
        if (stream !== undefined) this.#close(side, stream);
        return;
      }
      case "reset": {
        const stream = pick(this.model.live(side), a, () => true);
        if (stream !== undefined) this.#reset(side, stream, ENDING_CODES[b % ENDING_CODES.length] as Reset);
        return;
      }
      case "consume": {
        const stream = pick(this.model.live(side), a, (each) => each.unconsumed[side] > 0);
        if (stream !== undefined) this.#consume(side, stream, Math.ceil((stream.unconsumed[side] * (1 + (b % 4))) / 4));
        return;
      }
      case "steps":
        for (let i = 0; i < a % 40; i++) this.#step();
        return;
      case "ping":
        return session.ping();
      case "report":
        return this.link.sessions.node.report({ endpoints: [{ endpoint: "default/web 10.0.0.1:80", reason: "down" }] });
      case "goaway":
        return this.link.sessions.node.goAway("upgrade", false);
      case "crash":
        this.model.edgeLost();
        this.budget.edge = { held: 0, limit: this.budget.edge.limit };
        return this.link.replaceEdge(
          new Session({ role: "edge", hello: edgeHello, budget: this.budget.edge, restore: this.#saved }),
        );
    }
  }

  #open(websocket: boolean, size: number, end: boolean): void {
    const edge = this.link.sessions.edge;
    expect(edge.canOpen || this.model.goneAway.edge).toBe(true);
    if (!edge.canOpen) return;
    // The model must know the id before the body can be made: ids are given one by one.
    const id = edge.openStream({ ...head, websocket }, undefined, end && !websocket);
    if (edge.unsaved) this.#saved = edge.save();
    const stream = this.model.opened(id, websocket ? "websocket" : "http");
    stream.half.edge.ended = end && !websocket;
    if (stream.maySend("edge", "body")) this.#write("edge", stream, size, false);
  }

  #probe(): void {
    const edge = this.link.sessions.edge;
    if (!edge.canOpen) return;
    expect(edge.canProbe).toBe(true);
    const service = `default/web-${this.#probes++}`;
    const id = edge.openProbe({ service });
    if (edge.unsaved) this.#saved = edge.save();
    const stream = this.model.opened(id, "probe");
    stream.half.edge.ended = true;
    stream.service = service;
  }

  #respond(stream: ModelStream, size: number, end: boolean, refuse: boolean): void {
    const node = this.link.sessions.node;
    stream.answered = stream.websocket && !refuse ? 101 : 200;
    if (stream.answered === 101) return node.respond(stream.id, { status: 101, headers: [] }, undefined, false);
    stream.half.node.ended = end;
    const body = this.model.body(stream.half.node, size);
    node.respond(stream.id, { status: 200, headers: [] }, size > 0 ? body : undefined, end);
  }

  #write(side: Side, stream: ModelStream, size: number, end: boolean): void {
    stream.half[side].ended = end;
    const room = this.link.sessions[side].write(stream.id, this.model.body(stream.half[side], size), end);
    this.#roomed(side, stream, room);
  }

  #message(side: Side, stream: ModelStream, size: number, text: boolean): void {
    const { key, messages } = stream.half[side];
    const message = text ? TEXT.repeat(size / 10) : content(key, messages.length, size);
    messages.push(message);
    this.#roomed(side, stream, this.link.sessions[side].sendMessage(stream.id, message));
  }

  #roomed(side: Side, stream: ModelStream, room: boolean): void {
    if (stream.paused[side]) expect(room, "room before drained").toBe(false);
    stream.paused[side] = !room;
  }

  #close(side: Side, stream: ModelStream): void {
    stream.half[side].ended = true;
    this.link.sessions[side].sendClose(stream.id, 1007 + (stream.id % 8), `bye ${stream.id}`);
  }

  #reset(side: Side, stream: ModelStream, code: Reset): void {
    stream.life[side] = "over";
    stream.unconsumed[side] = 0;
    this.link.sessions[side].reset(stream.id, code, "because");
  }

  #consume(side: Side, stream: ModelStream, bytes: number): void {
    stream.unconsumed[side] -= bytes;
    this.link.sessions[side].consumed(stream.id, bytes);
  }

  #step(): boolean {
    const moved = this.link.step();
    this.check();
    return moved;
  }

  /** What holds at every moment. */
  check(): void {
    for (const side of SIDES) {
      const session = this.link.sessions[side];
      for (const id of session.takeDrained()) this.model.drained(side, id);
      let unconsumed = 0;
      let messages = 0;
      for (const stream of this.model.live(side)) {
        unconsumed += stream.unconsumed[side];
        if (side === "edge" && stream.answered === 101) messages += session.queued(stream.id);
        const largest = stream.half[other(side)].messages.length > 0 ? 2 * Math.max(...SIZES) : 0;
        expect(stream.unconsumed[side]).toBeLessThanOrEqual(limits.STREAM_WINDOW_MAX + largest);
      }
      expect(session.held).toBeGreaterThanOrEqual(unconsumed);
      expect(session.held).toBeLessThanOrEqual(limits.CONNECTION_WINDOW);
      expect(this.budget[side].held).toBe(session.held + messages);
      expect(session.held).toBeLessThanOrEqual(this.budget[side].limit);
    }
  }

  /** All is read: everything that was sent must arrive. */
  drain(): void {
    for (let rounds = 0; ; rounds++) {
      expect(rounds, "never drains").toBeLessThan(1000);
      while (this.#step());
      let consumed = false;
      for (const side of SIDES) {
        for (const stream of this.model.live(side)) {
          if (stream.unconsumed[side] === 0) continue;
          this.#consume(side, stream, stream.unconsumed[side]);
          consumed = true;
        }
      }
      if (!consumed) return;
    }
  }

  /** Ends, in order, whatever still can be ended; then nothing may be left. */
  finish(): void {
    this.drain();
    for (const stream of this.model.streams.values()) {
      if (stream.life.edge !== "open" || stream.life.node !== "open") continue;
      for (const side of SIDES) {
        expect(stream.half[side].complete, `stream ${stream.id}: what the ${side} sent is stuck`).toBe(true);
        expect(stream.paused[side], `stream ${stream.id}: the ${side}'s producer waits for ever`).toBe(false);
      }
      if (stream.answered === undefined) this.#respond(stream, 10, true, true);
    }
    this.drain();
    for (const side of SIDES) {
      for (const stream of this.model.live(side)) {
        if (stream.maySend(side, "body")) this.#write(side, stream, 0, true);
        else if (stream.maySend(side, "message")) this.#close(side, stream);
      }
    }
    this.drain();
    for (const side of SIDES) {
      expect(this.link.sessions[side].open, `${side}: streams left`).toBe(0);
      expect(this.link.sessions[side].held).toBe(0);
      expect(this.budget[side].held).toBe(0);
    }
  }
}

function pick(streams: ModelStream[], number: number, fits: (stream: ModelStream) => boolean): ModelStream | undefined {
  const fitting = streams.filter(fits);
  return fitting[number % Math.max(1, fitting.length)];
}

const kinds = {
  open: 6,
  probe: 1,
  respond: 6,
  write: 8,
  message: 6,
  close: 1,
  reset: 2,
  consume: 8,
  steps: 8,
  ping: 1,
  report: 1,
  goaway: 0.1,
  crash: 0.5,
} as const;
type Command = readonly [kind: keyof typeof kinds, a: number, b: number, c: number];
const command: fc.Arbitrary<Command> = fc.tuple(
  fc.oneof(
    ...Object.entries(kinds).map(([kind, weight]) => ({
      arbitrary: fc.constant(kind as keyof typeof kinds),
      weight: weight * 10,
    })),
  ),
  fc.nat(1000),
  fc.nat(1000),
  fc.nat(1000),
);

test("two sessions, any commands, any timing", () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.constantFrom(1024 * 1024, limits.BUDGET, limits.BUDGET),
      fc.array(command, { maxLength: 120, size: "max" }),
      (seed, budgetLimit, commands) => {
        const world = new World(seed, budgetLimit);
        for (const each of commands) {
          world.do(each);
          world.check();
        }
        world.finish();
      },
    ),
    { numRuns: 150 },
  );
});
