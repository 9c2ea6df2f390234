// The load, from the run's side: a server in each pod, and clients in the places from which Services are asked. Owns their
// processes through their channels.
import { Channel } from "../channel.ts";
import { nodes } from "../places.ts";
import { destination } from "../play.ts";
import { families } from "../row.ts";
import { type ClientOrder, type Counts, countsSchema, type ServerOrder } from "./messages.ts";
import { z } from "zod";

/** Where the pods' servers listen. */
export const LOAD_PORT = 8090;
/** One question of each kind, way and family; two busy cores serve so many. The virtual machine of mode ipvs serves a sixteenth. */
const EVERY_MS = 40;

/** From where, and by which frontend; the rules of node a are asked by all of them, those of node b by one. */
export const ways = [
  { from: "a2", to: "ClusterIP" },
  { from: "a", to: "ClusterIP" },
  { from: "out-a", to: "NodePort@a" },
  { from: "b", to: "NodePort@a" },
] as const;
export const nameOf = ({ from, to }: (typeof ways)[number]): string => `${from} → ${to}`;

export class Crowd {
  readonly #servers = new Map<string, Channel<ServerOrder, "done">>();
  readonly #clients = new Map<string, Channel<ClientOrder, Counts>>();
  readonly #number: number;
  readonly #everyMs: number;

  /** `number`: of the Service that is asked. `patience`: of the world, by which all may be slower. */
  constructor(number: number, patience: number) {
    this.#number = number;
    this.#everyMs = EVERY_MS * patience ** 2;
  }

  async start(): Promise<void> {
    const pods = nodes.flatMap((node) => node.pods);
    await Promise.all([
      ...pods.map(async ({ name }) => {
        const args = [name, String(LOAD_PORT)];
        this.#servers.set(name, await Channel.open(name, "load/server.ts", args, z.literal("done")));
        await this.order(name, "serve");
      }),
      ...ways.map(async (way) => {
        this.#clients.set(nameOf(way), await Channel.open(way.from, "load/client.ts", [], countsSchema));
      }),
    ]);
  }

  async order(pod: string, order: ServerOrder): Promise<void> {
    await this.#servers.get(pod)?.ask(order);
  }

  async begin(): Promise<void> {
    await Promise.all(
      ways.map(async (way) => {
        const targets = families.map((family) => ({ family, ...destination(way.to, this.#number, family) }));
        await this.#clients.get(nameOf(way))?.ask({ do: "begin", targets, everyMs: this.#everyMs });
      }),
    );
  }

  /** By way. */
  async tell(order: "count" | "forget names" | "end"): Promise<ReadonlyMap<string, Counts>> {
    const told = [...this.#clients].map(async ([way, client]) => [way, await client.ask({ do: order })] as const);
    return new Map(await Promise.all(told));
  }
}
