// A program that lives in a network namespace of its own, started and ended by namespace.ts: the namespace is there as long as it
// is. It is all pods and all clients there. Each TCP server says its own address to whoever connects.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { text } from "node:stream/consumers";
import type { Asked } from "./namespace.ts";

process.on("message", ({ id, asked }: { readonly id: number; readonly asked: Asked }) => {
  void answer(asked).then((said) => process.connected && process.send?.({ id, said }));
});
process.on("disconnect", () => process.exit());

async function answer(asked: Asked): Promise<string> {
  if (asked.do === "listen") {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end(asked.host);
    });
    await once(server.listen(asked.port, asked.host), "listening");
    return "";
  }
  const { host, port, from, timeoutMs } = asked;
  const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
  // A SYN that is dropped is sent again after a second, and for minutes.
  const timer = setTimeout(() => socket.destroy(new Error("timeout")), timeoutMs);
  try {
    return await text(socket);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ECONNREFUSED" ? "refused" : message;
  } finally {
    clearTimeout(timer);
  }
}
