// Where plain http may carry a token: it does not leave the machine or its own network. One rule for the agent, which dials, and
// for the edge, which writes the agent's manifest. Pure.
import { unbracketed } from "./host-port.ts";
import { parseAddress } from "./ranges.ts";

const NEARBY = new Set(["loopback", "private", "uniqueLocal", "linkLocal"]);

/** `host`: as URL.hostname has it. */
export function isNearby(host: string): boolean {
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  return NEARBY.has(parseAddress(unbracketed(host))?.range() ?? "");
}
