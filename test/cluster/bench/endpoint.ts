// Every endpoint of every Service: accepts connections, and says at which address each came in.
import { createServer } from "node:net";
import { POD_PORT } from "./places.ts";
import { serveCommands } from "./helpers.ts";

const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {}); // clients reset what they have asked
  socket.write(`${socket.localAddress}\n`);
});
server.listen({ port: POD_PORT, host: "0.0.0.0", backlog: 4096 }, () =>
  serveCommands(({ do: verb }) => {
    throw new Error(`no command for the endpoints: ${verb}`);
  }),
);
