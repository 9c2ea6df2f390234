// A client's body: what is kept of it, for how long, and what is read and thrown away. A set clock; bodies sent by hand.
import { describe, expect, test } from "vitest";
import {
  type BodySink,
  type BodySource,
  type RequestBody,
  requestBody,
} from "../../../src/edge/forward/request-body.ts";
import { STREAM_QUEUE_MAX, STREAM_WINDOW } from "../../../src/shared/wire/limits.ts";
import { Clock, settled } from "./clock.ts";

const LIMIT = 1_000_000;
const KEPT_MAX = STREAM_WINDOW + STREAM_QUEUE_MAX + STREAM_WINDOW;
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7);

class Client implements BodySource {
  readonly length: number;
  readonly clock = new Clock();
  readonly effects = { now: this.clock.now, random: () => 0, later: this.clock.later };
  readonly memory = { held: 0, limit: LIMIT };
  reads = 0;
  #answer: ((bytes: Uint8Array | undefined) => void) | undefined;
  #break: ((error: Error) => void) | undefined;

  constructor(length = Number.NaN) {
    this.length = length;
  }

  readonly read = (): Promise<Uint8Array | undefined> => {
    this.reads++;
    return new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#break = reject;
    });
  };
  readonly whole = async (): Promise<Uint8Array> => (await this.read()) ?? bytes(0);

  /** undefined: the end. */
  async send(part: Uint8Array | undefined): Promise<void> {
    this.#answer?.(part);
    await settled();
  }

  async breakOff(): Promise<void> {
    this.#break?.(new Error("scripted"));
    await settled();
  }

  async body(): Promise<RequestBody> {
    const made = await requestBody(this, this.memory, this.effects);
    if (made === undefined) throw new Error("broken off");
    return made;
  }
}

class Node implements BodySink {
  received = 0;
  ended = false;
  broken = false;
  /** Takes more at once. */
  open = true;
  readonly write = (part: Uint8Array, end: boolean): boolean => {
    this.received += part.length;
    this.ended = end;
    return this.open;
  };
  readonly flush = (): void => {};
  readonly onBroken = (): void => void (this.broken = true);
}

describe("a small body of known length", () => {
  test("is held as a whole until it is forgotten, and given back once", async () => {
    const client = new Client(100);
    const made = client.body();
    expect(client.memory.held).toBe(100);
    await client.send(bytes(100));
    const body = await made;
    expect([body.whole?.length, body.streamed, body.replayable]).toEqual([100, false, true]);
    body.forget();
    body.forget();
    expect(client.memory.held).toBe(0);
  });

  test("that is broken off holds nothing", async () => {
    const client = new Client(100);
    const made = requestBody(client, client.memory, client.effects);
    await client.breakOff();
    expect([await made, client.memory.held]).toEqual([undefined, 0]);
  });
});

describe("a stream", () => {
  test.each([Number.NaN, STREAM_WINDOW + 1])(
    "of length %d goes to a second node from its beginning",
    async (length) => {
      const client = new Client(length);
      const body = await client.body();
      const [first, second] = [new Node(), new Node()];
      body.attach(first);
      await client.send(bytes(10));
      body.detach();
      body.attach(second);
      // What was read for the first one, too.
      await client.send(bytes(5));
      await client.send(undefined);
      expect([first.received, first.ended, second.received, second.ended]).toEqual([10, false, 15, true]);
      expect(client.memory.held).toBe(15);
      body.forget();
      expect(client.memory.held).toBe(0);
    },
  );

  test("is read no further than the node takes it", async () => {
    const client = new Client();
    const body = await client.body();
    const node = new Node();
    node.open = false;
    body.attach(node);
    await client.send(bytes(10));
    expect(client.reads).toBe(1);
    body.resume();
    expect(client.reads).toBe(2);
  });

  test("past the limit is not kept, and cannot be sent again", async () => {
    const client = new Client();
    const body = await client.body();
    body.attach(new Node());
    await client.send(bytes(KEPT_MAX));
    expect([body.replayable, client.memory.held]).toEqual([true, KEPT_MAX]);
    await client.send(bytes(1));
    expect([body.replayable, client.memory.held]).toEqual([false, 0]);
    expect(() => body.attach(new Node())).toThrow("not kept");
  });

  test("that the client breaks off says so to the node that has it", async () => {
    const client = new Client();
    const body = await client.body();
    const node = new Node();
    body.attach(node);
    await client.breakOff();
    expect([node.broken, node.ended, body.broken, body.replayable]).toEqual([true, false, true, false]);
  });
});

describe("the rest that nobody wants", () => {
  async function draining() {
    const client = new Client();
    const body = await client.body();
    const node = new Node();
    body.attach(node);
    await client.send(bytes(10));
    let drained = false;
    void body.drain().then(() => (drained = true));
    await settled();
    return { client, node, drained: () => drained };
  }

  test("is read to its end, and no node has it", async () => {
    const { client, node, drained } = await draining();
    await client.send(bytes(100));
    await client.send(bytes(100));
    expect([drained(), node.received, client.memory.held]).toEqual([false, 10, 0]);
    await client.send(undefined);
    expect([drained(), client.clock.waiting]).toEqual([true, 0]);
  });

  test("is given up after a second without a byte", async () => {
    const { client, drained } = await draining();
    await client.clock.pass(900);
    await client.send(bytes(1));
    await client.clock.pass(999);
    expect(drained()).toBe(false);
    await client.clock.pass(1);
    expect(drained()).toBe(true);
  });

  test("is given up after a minute of drops", async () => {
    const { client, drained } = await draining();
    // Counted from when the read for the node that had it has ended.
    for (let ms = 0; ms < 60_500; ms += 500) {
      expect(drained()).toBe(false);
      await client.clock.pass(500);
      await client.send(bytes(1));
    }
    expect(drained()).toBe(true);
  });

  test("is given up where the client breaks off", async () => {
    const { client, drained } = await draining();
    await client.breakOff();
    expect(drained()).toBe(true);
  });

  test("is given up after 128 MiB", async () => {
    const { client, drained } = await draining();
    const part = bytes(32 * 1024 * 1024);
    // The first part was read for the node that had it.
    for (let i = 0; i < 4; i++) await client.send(part);
    expect(drained()).toBe(false);
    await client.send(part);
    expect(drained()).toBe(true);
  });
});
