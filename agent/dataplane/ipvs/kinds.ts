// The three kinds of things that ipvs mode has in the kernel by the thousand. Pure but for the programs that they name.
import { numbered, parseAddresses, parseSets } from "./listings.ts";
import { DEVICE } from "./names.ts";
import type { Kind } from "./part.ts";
import { changed, changeLines, parseListing, type Server } from "./servers.ts";
import { SET_IS_FULL } from "./tools.ts";

export const servers: Kind<Server> = {
  list: async (tools) => parseListing(await tools.servers()),
  lines: changeLines,
  after: changed,
  run: (tools, lines) => tools.changeServers(lines),
};

/** "set entry" */
export const entries: Kind<true> = {
  list: async (tools) => parseSets(await tools.sets()).entries,
  lines: (key, from, to) => (from === to ? [] : [`${to === undefined ? "del" : "add"} ${numbered(key)}`]),
  after: () => true,
  run: (tools, lines) => tools.changeSets(lines),
  // An entry is a line, and ipset ends at the first one that is refused. A set that is full takes none of the others either.
  refused: ({ stderr }, keys) => {
    const at = Number(/Error in line (\d+)/.exec(stderr)?.[1]) - 1;
    const key = keys[at];
    if (key === undefined) return [];
    const set = key.slice(0, key.indexOf(" ") + 1);
    return SET_IS_FULL.test(stderr) ? keys.slice(at).filter((other) => other.startsWith(set)) : [key];
  },
};

export const addresses: Kind<true> = {
  list: async (tools) => parseAddresses((await tools.addresses()) ?? ""),
  lines: (address, from, to) => {
    if (from === to) return [];
    const isIPv6 = address.includes(":");
    const place = `${address}/${isIPv6 ? 128 : 32} dev ${DEVICE}`;
    // Nobody else on the network is asked whether he has it.
    return [to === undefined ? `addr del ${place}` : `addr replace ${place}${isIPv6 ? " nodad" : ""}`];
  },
  after: () => true,
  run: (tools, lines) => tools.changeAddresses(lines),
  // ip goes on after a line that is refused.
  refused: (_, keys) => keys,
};
