// The stand-in as a process: `main.ts SERVICES`. All objects are encoded before it says that it is ready, so that it costs the
// machine little while a program reads them.
import { API_PORT, endpoints, spareAddress } from "../places.ts";
import { now } from "../clock.ts";
import { serveCommands } from "../helpers.ts";
import { clusterOf, endpointsOf, nodeCount, serviceWithEndpoints, slice } from "./objects.ts";
import { StandIn } from "./server.ts";
import { Store } from "./store.ts";

const services = Number(process.argv[2]);
const nodes = nodeCount(services);
const store = new Store();
for (const object of clusterOf(services)) store.put(object);
store.completed();
/** Where the endpoints of a Service are that have moved. */
const moved = new Map<number, string[]>();

const server = new StandIn({ store, onUnknown: (request) => console.error(`the stand-in was asked for ${request}`) });
await server.listen(API_PORT, endpoints.address);
serveCommands((command) => {
  switch (command.do) {
    case "add": {
      const objects = command.services.flatMap((index) => serviceWithEndpoints(index, nodes));
      const at = now();
      for (const object of objects) store.put(object);
      return { at };
    }
    case "move": {
      const addresses = moved.get(command.service) ?? endpointsOf(command.service);
      addresses[command.place] = spareAddress(command.spare);
      moved.set(command.service, addresses);
      const object = slice(command.service, nodes, addresses);
      const at = now();
      store.put(object);
      return { at };
    }
    default:
      throw new Error(`no command for the stand-in: ${command.do}`);
  }
});
