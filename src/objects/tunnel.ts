// Placeholder while src/wire is being written.
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { RoutingTable } from "../routing/table.ts";
import type { TunnelNode, TunnelRpc } from "./contract.ts";

export class TunnelObject extends DurableObject<Env> implements TunnelRpc {
  async setTable(_table: RoutingTable): Promise<void> {}
  async closeToken(_tokenId: string, _reason: string): Promise<{ closed: number }> {
    return { closed: 0 };
  }
  async nodes(): Promise<readonly TunnelNode[]> {
    return [];
  }
}
