// Where plain http may carry a token: it does not leave the machine or its own network. One rule for the agent, which dials, and
// for the edge, which writes the agent's manifest. Pure.
import { unbracketed } from "./host-port.ts";
import { parseAddress } from "./ranges.ts";

const NEARBY = new Set(["loopback", "private", "uniqueLocal", "linkLocal"]);

/** localhost and all names below it are this machine (RFC 6761). */
export const isLocalhost = (host: string): boolean => host === "localhost" || host.endsWith(".localhost");

/** `host`: as URL.hostname has it. */
export function isNearby(host: string): boolean {
  if (isLocalhost(host)) return true;
  return NEARBY.has(parseAddress(unbracketed(host))?.range() ?? "");
}
