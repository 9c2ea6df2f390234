// How many sockets a shard takes, so that no token can use up what the others of its cluster need. Pure.
import { SOCKETS_PER_SHARD, SOCKETS_PER_TOKEN, STRANGERS_PER_TOKEN } from "../../shared/wire/limits.ts";

/** A socket as far as admission is concerned. */
export interface Admitted {
  readonly tokenId: string;
  /** Its agent has not said HELLO yet. */
  readonly stranger: boolean;
}

/** Why a dial with this token is refused for now, in words for the agent's log; undefined: it is accepted. */
export function refuseDial(tokenId: string, sockets: Iterable<Admitted>): string | undefined {
  let all = 0;
  let own = 0;
  let strangers = 0;
  for (const socket of sockets) {
    all++;
    if (socket.tokenId !== tokenId) continue;
    own++;
    if (socket.stranger) strangers++;
  }
  if (all >= SOCKETS_PER_SHARD) return `this shard has ${all} connections, and takes no more`;
  if (own >= SOCKETS_PER_TOKEN) return `this token has ${own} connections here, and may have no more`;
  if (strangers >= STRANGERS_PER_TOKEN) return `${strangers} connections of this token have not said HELLO yet`;
  return undefined;
}
