// A dead edge is noticed as src/shared/wire/README.md says: no pong within 15 s of a ping, whatever moment it died at (B9).
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { Connection } from "../../../agent/tunnel/connection.ts";
import { BUDGET } from "../../../src/shared/wire/limits.ts";

class Socket extends EventEmitter {
  readyState = WebSocket.OPEN;
  bufferedAmount = 0;
  binaryType = "";
  terminated = false;
  readonly pings: number[] = [];
  send(data: unknown): void {
    if (data === "ping") this.pings.push(Date.now());
  }
  terminate(): void {
    this.terminated = true;
    this.emit("close", 1006, Buffer.from(""));
  }
}

beforeEach(
  () =>
    void vi.useFakeTimers({ now: 0, toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] }),
);
afterEach(() => void vi.useRealTimers());

function open(): Socket {
  const socket = new Socket();
  const never = () => {
    throw new Error("nothing is opened");
  };
  const events = { onReady: never, onGoAway: never, onEnded: () => {}, onFault: never, open: never, probe: never };
  const identity = { node: "n", instance: "i", started: 0, software: "" };
  const connection = new Connection(socket as unknown as WebSocket, identity, { held: 0, limit: BUDGET }, events);
  socket.emit("open");
  expect(connection.open).toEqual({ streams: 0, servers: 0 });
  return socket;
}

test.each([0, 9_999, 20_500])("the edge falls silent %d ms after a pong", (silence) => {
  const socket = open();
  const pong = (): void => void socket.emit("message", Buffer.from("pong"), false);
  for (let now = 0; now <= silence; now += 500) {
    pong();
    vi.advanceTimersByTime(500);
  }
  const since = Date.now();
  // The first ping after the last pong is the one that nobody answers.
  while (!socket.terminated) vi.advanceTimersByTime(100);
  const unanswered = socket.pings.find((at) => at > since - 500) ?? Number.NaN;
  expect(Date.now() - unanswered).toBeLessThanOrEqual(15_100);
  expect(Date.now() - since).toBeLessThanOrEqual(25_100);
});

test("an edge that answers late, but in time, is kept", () => {
  const socket = open();
  for (let i = 0; i < 20; i++) {
    vi.advanceTimersByTime(14_900);
    socket.emit("message", Buffer.from("pong"), false);
  }
  expect(socket.terminated).toBe(false);
});
