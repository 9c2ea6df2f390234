// One exchange over a real link and two real sessions, without sockets or objects: what ends it, and what comes back of a body (L1, B2).
import { expect, test, vi } from "vitest";
import type { Attempt } from "../../../src/edge/tunnel/attempt.ts";
import { clientBody } from "../../../src/edge/tunnel/client-body.ts";
import { effects } from "../../../src/edge/effects.ts";
import { httpExchange } from "../../../src/edge/tunnel/http-exchange.ts";
import { Link, type LinkOwner } from "../../../src/edge/tunnel/link.ts";
import { noBody, type RequestBody } from "../../../src/edge/forward/request-body.ts";
import { BUDGET, STREAM_ID_MAX } from "../../../src/shared/wire/limits.ts";
import { type RequestHead, Reset } from "../../../src/shared/wire/messages.ts";
import { type Budget, Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello } from "../../shared/wire/link.ts";
import { head as anyHead } from "../../shared/wire/pair.ts";

class Stage {
  readonly memory: Budget = { held: 0, limit: BUDGET };
  readonly node = new Session({ role: "node", hello: nodeHello });
  readonly events: SessionEvent[] = [];
  readonly leaving = new AbortController();
  readonly exhausted: Link[] = [];
  readonly link: Link;
  suspected = 0;

  constructor(nextId?: number) {
    const restore = nextId === undefined ? {} : { restore: { peer: nodeHello, nextId, goneAway: false } };
    const session = new Session({ role: "edge", hello: edgeHello, budget: this.memory, ...restore });
    const nothing = (): void => {};
    const owner: LinkOwner = {
      effects,
      onHello: nothing,
      onGoAway: nothing,
      onLiveness: nothing,
      onFatal: nothing,
      onUnsaved: (link) => void link.session.save(),
      onExhausted: (link) => void this.exhausted.push(link),
    };
    const socket = {
      bufferedAmount: 0,
      send: (message: Uint8Array) => void this.events.push(...this.node.receive(message)),
    };
    this.link = new Link(owner, session, socket, "token", 0);
    if (nextId === undefined) this.flow();
    else this.link.flush();
  }

  /** What the node has to say. */
  flow(): void {
    for (let each = this.node.take(65536); each !== undefined; each = this.node.take(65536)) {
      const message = Uint8Array.from(each);
      this.link.receive(message.buffer, 0);
    }
  }

  ask(
    body: RequestBody = noBody,
    more: Partial<RequestHead> = {},
    request = { signal: this.leaving.signal },
  ): Promise<Attempt> {
    return httpExchange({
      link: this.link,
      head: { ...anyHead, ...more },
      body,
      memory: this.memory,
      request,
      now: 0,
      mover: {
        mayMove: () => {
          this.suspected++;
          return false;
        },
      },
    });
  }

  of<T extends SessionEvent["type"]>(type: T): Extract<SessionEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<SessionEvent, { type: T }> => event.type === type);
  }
}

/** A client's body that is sent by hand. */
function body(stage: Stage, headers: Record<string, string> = {}) {
  let client!: ReadableByteStreamController;
  const stream = new ReadableStream({ type: "bytes", start: (controller) => void (client = controller) });
  const request = new Request("http://web/", { method: "POST", body: stream, headers, duplex: "half" } as RequestInit);
  return { client, made: clientBody(request, stage.memory, effects) };
}
/** Until it holds: the client's body is read by the platform, which tells nobody when it has. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 1 });

test.each([3, 150_000])("a client that breaks off its body after %d bytes: the exchange ends at once", async (size) => {
  const stage = new Stage();
  const { client, made } = body(stage);
  const request = (await made) as RequestBody;
  const asked = stage.ask(request);
  client.enqueue(new Uint8Array(size));
  await until(() => expect(stage.memory.held).toBe(size));
  client.error(new Error("gone"));
  expect(await asked).toMatchObject({ ok: false, reason: "client-gone" });
  expect(stage.of("reset")).toMatchObject([{ code: Reset.CANCELLED }]);
  expect([request.broken, request.replayable, stage.link.session.open]).toEqual([true, false, 0]);
  request.forget();
  request.forget();
  expect(stage.memory.held).toBe(0);
});

test("a client that breaks off a small body of known length: it is told apart, and nothing is held", async () => {
  const stage = new Stage();
  const { client, made } = body(stage, { "content-length": "100" });
  expect(stage.memory.held).toBe(100);
  client.error(new Error("gone"));
  expect(await made).toBeUndefined();
  expect(stage.memory.held).toBe(0);
});

test("where memory is short a small body streams, and none of it is kept", async () => {
  const stage = new Stage();
  stage.memory.held = BUDGET / 2 + 1;
  const { client, made } = body(stage, { "content-length": "3" });
  const request = (await made) as RequestBody;
  expect(request.streamed).toBe(true);
  void stage.ask(request);
  client.enqueue(new Uint8Array(3));
  await until(() => expect(stage.of("data")).toHaveLength(1));
  expect([request.replayable, stage.memory.held]).toEqual([false, BUDGET / 2 + 1]);
});

test("a body that has been let go is never sent again from its middle", async () => {
  const stage = new Stage();
  const { client, made } = body(stage);
  const request = (await made) as RequestBody;
  void stage.ask(request);
  client.enqueue(new Uint8Array(10));
  await until(() => expect(stage.memory.held).toBe(10));
  request.forget();
  expect(() => request.attach({ write: () => true, flush: () => {}, onBroken: () => {} })).toThrow("not kept");
});

test("a body that ended before its first node failed goes to the second with its beginning, then its end", async () => {
  const [first, second] = [new Stage(), new Stage()];
  const { client, made } = body(first);
  const request = (await made) as RequestBody;
  const failed = first.ask(request);
  client.enqueue(new Uint8Array(10).fill(7));
  client.close();
  await until(() => expect(first.of("data").at(-1)?.end).toBe(true));
  first.node.reset(1, Reset.NO_ENDPOINT, "");
  first.flow();
  expect(await failed).toMatchObject({ ok: false, sent: "never" });
  void second.ask(request);
  const [open] = second.of("open");
  const chunks = [open?.body, ...second.of("data").map((event) => event.bytes)];
  expect(chunks.flatMap((each) => [...(each ?? [])])).toEqual(Array(10).fill(7));
  expect(second.of("data").at(-1)?.end ?? open?.end).toBe(true);
});

test("a connection that closes: what left may have been seen, what did not was not", async () => {
  const stage = new Stage();
  const sent = stage.ask();
  (stage.link.socket as { bufferedAmount: number }).bufferedAmount = 1 << 30;
  const unsent = stage.ask();
  stage.link.close(Reset.BROKE, "gone");
  expect(await sent).toMatchObject({ sent: "maybe", final: false });
  expect(await unsent).toMatchObject({ sent: "never" });
});

test("a handler that throws ends its stream, not the link", async () => {
  const stage = new Stage();
  let faults = 1;
  const fault = {
    get signal(): AbortSignal {
      if (faults-- > 0) throw new Error("scripted");
      return stage.leaving.signal;
    },
  };
  const asked = stage.ask(noBody, {}, fault);
  const other = stage.ask();
  stage.node.respond(1, { status: 200, headers: [] }, undefined, false);
  stage.node.respond(2, { status: 200, headers: [] }, new Uint8Array(2), true);
  stage.flow();
  expect(await asked).toMatchObject({ ok: false, reason: "endpoint-broke" });
  expect(await other).toMatchObject({ ok: true });
  expect(stage.link.session.open).toBe(0);
});

test.each([
  ["an answer with a body", false, 200, "IdentityTransformStream"],
  ["a 101", true, 101, "WebSocketPair"],
] as const)("a client that has gone before %s begins: nothing of it is made, and the node is told", async (...row) => {
  const [, websocket, status, maker] = row;
  const made = vi.spyOn(globalThis as unknown as Record<string, () => unknown>, maker);
  const stage = new Stage();
  const asked = stage.ask(noBody, { websocket });
  stage.leaving.abort();
  stage.node.respond(1, { status, headers: [] }, websocket ? undefined : new Uint8Array(10), false);
  stage.flow();
  expect(await asked).toMatchObject({ ok: false, reason: "client-gone" });
  expect(made).not.toHaveBeenCalled();
  made.mockRestore();
  expect(stage.of("reset")).toMatchObject([{ code: Reset.CANCELLED }]);
  expect([stage.memory.held, stage.link.session.open]).toEqual([0, 0]);
});

test("a client that leaves when its answer is complete, but not read: what is held for it is given back", async () => {
  const stage = new Stage();
  const asked = stage.ask();
  stage.node.respond(1, { status: 200, headers: [] }, new Uint8Array(10), false);
  stage.node.write(1, new Uint8Array(10), true);
  stage.flow();
  const answered = await asked;
  const body = answered.ok ? (answered.body as ReadableStream<Uint8Array>) : undefined;
  expect([stage.memory.held, stage.link.session.open]).toEqual([20, 1]);
  await body?.cancel();
  await until(() => expect([stage.memory.held, stage.link.session.open]).toEqual([0, 0]));
});

test("a 101 that is not handed on: its client's end is closed, and its node is told", async () => {
  const stage = new Stage();
  const asked = stage.ask(noBody, { websocket: true });
  stage.node.respond(1, { status: 101, headers: [] }, undefined, false);
  stage.flow();
  const answered = await asked;
  if (!answered.ok) throw new Error("no 101");
  answered.exchange.discard("scripted");
  expect(answered.webSocket?.readyState).not.toBe(WebSocket.OPEN);
  expect(stage.of("reset")).toMatchObject([{ code: Reset.CANCELLED, reason: "scripted" }]);
  expect(stage.link.session.open).toBe(0);
});

test("a silent node: said at each sweep, for another node may have come meanwhile", () => {
  const stage = new Stage();
  void stage.ask();
  for (let now = 0; now <= 3_000; now += 250) stage.link.sweep(now);
  expect(stage.suspected).toBeGreaterThan(3);
});

test("the last id: the owner is told once no stream can be opened any more (B5)", async () => {
  const stage = new Stage(STREAM_ID_MAX - 2);
  void stage.ask();
  expect([stage.exhausted.length, stage.link.usable]).toEqual([0, true]);
  void stage.ask();
  expect([stage.exhausted.length, stage.link.usable]).toEqual([1, false]);
});

test("a client's WebSocket messages count in the object's memory while they wait, and past it end that socket alone (S33)", async () => {
  const stage = new Stage();
  const asked = stage.ask(noBody, { websocket: true });
  stage.node.respond(1, { status: 101, headers: [] }, undefined, false);
  stage.flow();
  const answered = await asked;
  const client = answered.ok ? answered.webSocket : undefined;
  if (client === undefined) throw new Error("no 101");
  const closed = new Promise<number>((resolve) => client.addEventListener("close", ({ code }) => resolve(code)));
  client.accept();
  client.send(new Uint8Array(1024 * 1024));
  // The node has given credit for 64 KiB; the rest waits here.
  await until(() => expect(stage.memory.held).toBeGreaterThan(900 * 1024));
  const others = BUDGET * 0.75 - stage.memory.held;
  stage.memory.held += others;
  client.send("x");
  expect(await closed).toBe(1013);
  expect([stage.memory.held, stage.link.session.open]).toEqual([others, 0]);
  expect(stage.of("reset")).toMatchObject([{ code: Reset.OVERLOADED }]);
});
