// A pod's server under load: `node server.ts NAME PORT`. TCP: says its name and echoes what it gets. UDP: answers with its name
// and the question. "finish" ends it as a pod that is terminated ends: nothing new is taken, what is open is closed in order.
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { answerQuestions } from "../channel.ts";
import { families, type Family } from "../row.ts";
import { type ServerOrder, serverOrderSchema } from "./messages.ts";

/**
 * On the same port. Node takes one connection of each in a turn of its loop, and on a busy machine it has few turns a second: with
 * one of them connections wait for longer than their clients.
 */
const LISTENERS = 8;

const [name = "", port = ""] = process.argv.slice(2);
const wildcard: Readonly<Record<Family, string>> = { IPv4: "0.0.0.0", IPv6: "::" };
const connections = new Set<Socket>();
let listening: (Server | UdpSocket)[] = [];

answerQuestions(serverOrderSchema, async (order: ServerOrder) => {
  if (order === "serve" && listening.length === 0) {
    const servers = families.flatMap((family) => [
      serveUdp(family),
      ...Array.from({ length: LISTENERS }, () => serveTcp(family)),
    ]);
    listening = await Promise.all(servers);
  }
  if (order === "finish") {
    for (const each of listening.splice(0)) each.close();
    for (const socket of connections) socket.end();
  }
  return "done";
});

async function serveTcp(family: Family): Promise<Server> {
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on("error", () => {}); // a client that has gone
    socket.on("close", () => connections.delete(socket));
    socket.on("data", (bytes) => {
      if (socket.writable) socket.write(bytes);
    });
    socket.write(`${name}\n`);
  });
  const at = { host: wildcard[family], port: Number(port), ipv6Only: family === "IPv6" };
  server.listen({ ...at, reusePort: true, backlog: 511 });
  await once(server, "listening");
  return server;
}

async function serveUdp(family: Family): Promise<UdpSocket> {
  const socket = createSocket({ type: family === "IPv4" ? "udp4" : "udp6", ipv6Only: family === "IPv6" });
  socket.on("message", (question, from) => socket.send(`${name} ${question.toString()}`, from.port, from.address));
  socket.on("error", () => {});
  socket.bind({ address: wildcard[family], port: Number(port) });
  await once(socket, "listening");
  return socket;
}
