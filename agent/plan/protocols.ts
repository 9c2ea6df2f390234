// What the pods of a Service are said to speak (appProtocol) against what Postern speaks to them: HTTP/1.1 without TLS,
// WebSockets included. Pure. Nothing is refused for it, because many a server speaks HTTP/1.1 beside what it is said to speak:
// the owner is told, with the remedy, before a client's 502 asks.
import { type Condition, condition } from "../../src/shared/model/conditions.ts";
import type { KubeEndpointSlice } from "../source/resources.ts";
import { namedPort } from "./conditions.ts";
import type { ServicePortPlan } from "./ports.ts";

/** Lower case, as all words here. "": nobody says. grpc-web is HTTP/1.1. */
const SERVED = new Set(["", "http", "http1", "http/1.1", "ws", "kubernetes.io/ws", "grpc-web"]);
const TLS = new Set(["https", "tls", "ssl", "wss", "kubernetes.io/wss", "grpcs"]);
const HTTP2 = new Set(["kubernetes.io/h2c", "h2c", "h2", "http2", "http/2", "grpc"]);

/** The Service's word counts; where it has none, the slices' (they may be written by hand). One condition for all ports. */
export function protocolConditions(
  ports: readonly ServicePortPlan[],
  slices: readonly Pick<KubeEndpointSlice, "ports">[],
): Condition[] {
  const found = ports.flatMap((port) => {
    if (port.protocol !== "TCP") return [];
    const said = port.appProtocol === "" ? saidBySlices(port, slices) : port.appProtocol;
    const what = unserved(said);
    return what === undefined ? [] : [{ port: port.port, message: `${namedPort(port)}: ${what}` }];
  });
  if (found.length === 0) return [];
  const message = found.map((each) => each.message).join(". ");
  const about = [...new Set(found.map(({ port }) => port))];
  return [condition("ProtocolNotSupported", "AppProtocol", message, { ports: about })];
}

function saidBySlices(
  { name, protocol }: ServicePortPlan,
  slices: readonly Pick<KubeEndpointSlice, "ports">[],
): string {
  for (const { ports } of slices) {
    const same = ports.find((port) => port.name === name && port.protocol === protocol && port.appProtocol !== "");
    if (same !== undefined) return same.appProtocol;
  }
  return "";
}

/** Undefined where all is well. Case does not matter: "HTTP" is written, too. */
function unserved(appProtocol: string): string | undefined {
  const known = appProtocol.toLowerCase();
  if (SERVED.has(known)) return undefined;
  if (TLS.has(known))
    return (
      `appProtocol ${appProtocol} says that the pods speak TLS, and Postern speaks plain HTTP/1.1 to them: a server that takes ` +
      "TLS alone cannot be reached. TLS for clients ends at the edge; let the server offer plain HTTP on a port, point " +
      "targetPort there and write appProtocol: http"
    );
  if (HTTP2.has(known))
    return (
      `appProtocol ${appProtocol} says that the pods speak HTTP/2, and Postern speaks HTTP/1.1 to them: gRPC does not pass, ` +
      "plain requests do where the server takes HTTP/1.1 on this port, too. Else let it offer HTTP/1.1 on a port, point " +
      "targetPort there and write appProtocol: http"
    );
  return (
    `appProtocol ${appProtocol} is none that Postern knows. It speaks plain HTTP/1.1 (and WebSockets) to the pods, and carries ` +
    "nothing else: if the server speaks that, write appProtocol: http; else use a Service of another load balancer"
  );
}
