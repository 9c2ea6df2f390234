// A port that nobody has. Somebody else may take it before its asker does; then that one's listening says so.
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

export async function freePort(address = "127.0.0.1"): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
