// A probe stream: one answer, whole, or a refusal.
import { Reset } from "../../src/shared/wire/messages.ts";
import type { ServedStream, Server } from "./connection.ts";

/** `answer`: undefined where this node answers no probe now. */
export function serveProbe(stream: ServedStream, answer: Promise<Uint8Array> | undefined): Server {
  const nothing = (): void => {};
  const server = { onData: nothing, onMessage: nothing, onClose: nothing, onDrained: nothing, onReset: nothing };
  if (answer === undefined) {
    stream.reset(Reset.OVERLOADED, "this node answers another probe, or was asked too often");
    return server;
  }
  void respond(stream, answer);
  return server;
}

/** Where the edge waits no longer, the session drops what comes. */
async function respond(stream: ServedStream, answer: Promise<Uint8Array>): Promise<void> {
  try {
    const report = await answer;
    stream.respond({ status: 200, headers: [] });
    stream.write(report, true);
    stream.finished(true);
  } catch (error) {
    stream.fault(error);
  }
}
