// What one connection has to send, and in which order: frames of the connection and RESETs first, then credit, then one frame
// of each stream in turn, as far as the peer's credit goes. It owns the connection's credit, and says which producers pause.
// It is lost with the session.
import type { Accounts } from "./accounts.ts";
import { encode, HEADER, readU32, Type, Violation, write, writeU32 } from "./frames.ts";
import * as limits from "./limits.ts";
import { encodeReset, type Reset } from "./messages.ts";
import type { Stream } from "./stream.ts";

const NOTHING = new Uint8Array(0);
const NONE: readonly number[] = [];
const PONG = encode(0, Type.PONG, NOTHING);

/** `flags` of a part that is an encoded frame already. */
const RAW = -1;
interface Part {
  readonly stream: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export class Outbox {
  readonly #edge: boolean;
  readonly #accounts: Accounts;
  /** Called when a stream has nothing more to send. */
  readonly #onEmpty: (stream: Stream) => void;
  /** Frames of the connection, and RESETs, encoded, in order. */
  #control: Uint8Array[] = [];
  /** One of them is a PONG. */
  #ponging = false;
  /** Streams with something to send, in turn; those that only lack the connection's credit wait in #starved. */
  readonly #ring: Stream[] = [];
  /** Streams of which nothing was sent yet. They go first, once: a small answer does not wait until every large one had its turn. */
  readonly #fresh: Stream[] = [];
  readonly #starved: Stream[] = [];
  #drained: number[] = [];
  #credit = limits.CONNECTION_WINDOW;

  constructor(edge: boolean, accounts: Accounts, onEmpty: (stream: Stream) => void) {
    this.#edge = edge;
    this.#accounts = accounts;
    this.#onEmpty = onEmpty;
  }

  /** A frame of the connection. */
  send(type: Type, payload: Uint8Array = NOTHING): void {
    this.#control.push(encode(0, type, payload));
  }

  sendReset(id: number, code: Reset, reason: string): void {
    this.#control.push(encode(id, Type.RESET, encodeReset(code, reason)));
  }

  /** One PONG answers all PINGs that came since the last flush: a flood cannot grow the queue. */
  pong(): void {
    if (this.#ponging) return;
    this.#ponging = true;
    // Nothing may precede a HELLO or RESUME that still waits.
    const first = this.#control[0]?.[4];
    this.#control.splice(first === Type.HELLO || first === Type.RESUME ? 1 : 0, 0, PONG);
  }

  /** The peer provokes answers and reads none. */
  get overflowing(): boolean {
    return this.#control.length > limits.CONTROL_MAX;
  }

  /** A stream may have something to send. */
  enter(stream: Stream): void {
    if (stream.ringed || stream.empty) return;
    stream.ringed = true;
    (stream.announced ? this.#ring : this.#fresh).push(stream);
  }

  /** The stream is gone, and with it what it had to send. */
  drop(stream: Stream): void {
    this.#unqueue(stream.queuedMessages);
    stream.drop();
    if (stream.paused) this.#drained.push(stream.id);
  }

  /** `bytes` of messages wait no more. Session.sendMessage() had counted them. */
  #unqueue(bytes: number): void {
    if (this.#edge && bytes > 0) this.#accounts.queue(-bytes);
  }

  takeDrained(): readonly number[] {
    if (this.#drained.length === 0) return NONE;
    const drained = this.#drained;
    this.#drained = [];
    return drained;
  }

  /** CREDIT for the connection. */
  earn(payload: Uint8Array): void {
    this.#credit = added(this.#credit, payload);
    this.#ring.push(...this.#starved);
    this.#starved.length = 0;
  }

  /** The edge restarted: what was queued for the time before must not be sent after the echo of the last RESUME. */
  restart(echo: Uint8Array): void {
    this.#control = this.#control.filter((each) => readU32(each, 0) === 0 && each[4] !== Type.RESUME);
    this.#starved.length = 0;
    this.#credit = limits.CONNECTION_WINDOW;
    this.send(Type.RESUME, echo);
  }

  /** The next message; see Session.take. */
  take(atMost: number): Uint8Array | undefined {
    if (this.#control.length === 1 && this.#ring.length + this.#fresh.length === 0 && this.#accounts.owesNothing)
      return this.#popControl();
    // Before its last frame a message is half full at most, so there is room for that frame and for credit.
    const enough = Math.min(atMost, limits.MESSAGE_MAX / 2);
    const parts: Part[] = [];
    let size = this.#takeControl(parts, enough);
    while (size < enough) {
      const stream = this.#fresh.shift() ?? this.#ring.shift();
      if (stream === undefined) break;
      stream.ringed = false;
      if (!stream.sendable(this.#credit)) {
        // It stays marked as listed, or each write() would list it again.
        stream.ringed = stream.sendable(Infinity);
        if (stream.ringed) this.#starved.push(stream);
        continue;
      }
      size += this.#takeTurn(stream, parts);
      if (stream.resumes()) this.#drained.push(stream.id);
      if (stream.empty) this.#onEmpty(stream);
      else this.enter(stream);
    }
    return parts.length === 0 ? undefined : joined(parts, size);
  }

  /** One frame; a head takes the frame behind it along, so that the peer gets a small answer as one event. */
  #takeTurn(stream: Stream, parts: Part[]): number {
    let size = 0;
    for (;;) {
      const messages = stream.queuedMessages;
      const { flags, payload, cost } = stream.next(this.#credit);
      this.#unqueue(messages - stream.queuedMessages);
      this.#credit -= cost;
      parts.push({ stream: stream.id, flags, payload });
      size += HEADER + payload.length;
      const head = flags === Type.HEAD || flags === Type.OPEN;
      if (!head || !stream.sendable(this.#credit)) return size;
    }
  }

  #popControl(): Uint8Array | undefined {
    this.#ponging = false;
    return this.#control.pop();
  }

  #takeControl(parts: Part[], enough: number): number {
    let size = 0;
    let taken = 0;
    // A PONG is first or second, so it is among those that go.
    this.#ponging = false;
    while (taken < this.#control.length && size < enough) {
      const payload = this.#control[taken++] as Uint8Array;
      parts.push({ stream: 0, flags: RAW, payload });
      size += payload.length;
    }
    this.#control.splice(0, taken);
    if (this.#accounts.owesNothing) return size;
    this.#accounts.takeGrants((stream, credit) => {
      parts.push({ stream, flags: Type.CREDIT, payload: u32(credit) });
      size += HEADER + 4;
    });
    return size;
  }
}

function joined(parts: readonly Part[], size: number): Uint8Array {
  const message = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    if (part.flags !== RAW) at = write(message, at, part.stream, part.flags, part.payload);
    else {
      message.set(part.payload, at);
      at += part.payload.length;
    }
  }
  return message;
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}

/** Credit after a CREDIT frame. */
export function added(credit: number, payload: Uint8Array): number {
  if (payload.length !== 4) throw new Violation("CREDIT is not 4 bytes");
  const more = readU32(payload, 0);
  if (more === 0 || credit + more > 0x7fff_ffff) throw new Violation("CREDIT of zero or too much");
  return credit + more;
}
