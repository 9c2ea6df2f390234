// The stand-in as a process: `main.ts SERVICES`. All objects are encoded before it says that it is ready, so that it costs the
// machine little while a program reads them.
import { API_PORT, endpoints, spareAddress } from "../places.ts";
import { now } from "../clock.ts";
import { serveCommands } from "../helpers.ts";
import { clusterOf, endpointsOf, type KubeObject, nodeCount, service, slice } from "./objects.ts";
import { StandIn } from "./server.ts";
import { Store } from "./store.ts";

/** About what the endpoint slice controller needs in a small cluster. */
const CONTROLLER_MS = 20;

const services = Number(process.argv[2]);
const nodes = nodeCount(services);
const store = new Store();
for (const object of clusterOf(services)) store.put(object);
store.completed();
/** Where the endpoints of a Service are that have moved. */
const moved = new Map<number, string[]>();

function put(object: KubeObject): { at: number } {
  const at = now();
  store.put(object);
  return { at };
}

const server = new StandIn({ store, onUnknown: (request) => console.error(`the stand-in was asked for ${request}`) });
await server.listen(API_PORT, endpoints.address);
serveCommands((command) => {
  switch (command.do) {
    case "add": {
      const { what, service: index } = command;
      return put(what === "service" ? service(index) : slice(index, nodes, endpointsOf(index)));
    }
    case "create": {
      setTimeout(() => put(slice(command.service, nodes, endpointsOf(command.service))), CONTROLLER_MS);
      return put(service(command.service));
    }
    case "move": {
      const addresses = moved.get(command.service) ?? endpointsOf(command.service);
      addresses[command.place] = spareAddress(command.spare);
      moved.set(command.service, addresses);
      return put(slice(command.service, nodes, addresses));
    }
    default:
      throw new Error(`no command for the stand-in: ${command.do}`);
  }
});
