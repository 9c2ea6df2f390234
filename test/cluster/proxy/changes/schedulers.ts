// ipvs' schedulers, each chosen by its Service's annotation: whom they deal connections to. Only an agent in mode ipvs.
import { annotation } from "../../../../src/shared/model/annotations.ts";
import type { ServiceSpec } from "../objects.ts";
import { nodes } from "../places.ts";
import { families, type Family } from "../row.ts";
import type { Change, Stage } from "./stage.ts";

const all = ["a1", "b1", "c1"];
const serviceOf = (algorithm: string, prefix = "scheduler"): ServiceSpec => ({
  name: `${prefix}-${algorithm}`,
  endpoints: all,
  annotations: { [annotation.endpointAlgorithm]: algorithm },
});
const forAgent = { modes: ["ipvs"], onlyFor: "agent" } as const;
const byTurns = ["rr", "wrr"];
const byConnections = ["lc", "wlc", "sed", "nq"];

export const schedulers: readonly Change[] = [
  {
    name: "schedulers by turns",
    services: byTurns.map((name) => serviceOf(name)),
    ...forAgent,
    play: async (stage) => {
      for (const algorithm of byTurns) {
        for (const family of families) {
          const counts = count(await asked(stage, serviceOf(algorithm), "a2", family, 12, {}));
          stage.check(`12 connections by ${algorithm}, ${family}`, counts, "a1 ×4, b1 ×4, c1 ×4");
        }
      }
    },
  },
  {
    name: "schedulers by open connections",
    services: byConnections.map((name) => serviceOf(name)),
    ...forAgent,
    play: async (stage) => {
      for (const algorithm of byConnections) {
        for (const family of families) {
          const open = (times: number): Promise<string[]> =>
            asked(stage, serviceOf(algorithm), "a2", family, times, { hold: true });
          stage.check(`6 connections by ${algorithm}, ${family}`, count(await open(6)), "a1 ×2, b1 ×2, c1 ×2");
          await stage.release("a2", "b1");
          // By turns they would go to others as well.
          stage.check(`2 more after those of b1 ended, ${algorithm} ${family}`, count(await open(2)), "b1 ×2");
          for (const name of all) await stage.release("a2", name);
        }
      }
    },
  },
  {
    name: "schedulers by hashes of addresses",
    services: ["dh", "sh", "maglev"].map((name) => serviceOf(name)),
    ...forAgent,
    play: async (stage) => {
      const froms = ["out-a", "out-b", "out-c", "b", "c"];
      for (const family of families) {
        const chosenBy = async (algorithm: string, to: string): Promise<Map<string, string>> => {
          const words = froms.map(async (from) => {
            const seen = await asked(stage, serviceOf(algorithm), from, family, 4, { to });
            return [from, [...new Set(seen)].sort().join(" ")] as const;
          });
          return new Map(await Promise.all(words));
        };
        const byDestination = new Set((await chosenBy("dh", "NodePort@a")).values());
        stage.check(`dh: all clients of one address, ${family}`, [...byDestination].join(" "), "one of a1* b1* c1*");
        for (const algorithm of ["sh", "maglev"]) {
          const first = await chosenBy(algorithm, "NodePort@a");
          for (const [from, words] of first) {
            stage.check(`${algorithm}: always the same for ${from}, ${family}`, words, "one of a1* b1* c1*");
          }
          const different = new Set(first.values()).size > 1 ? "several" : [...first.values()].join(" ");
          stage.check(`${algorithm}: endpoints of 5 clients, ${family}`, different, "several");
        }
        // Its table is made of the endpoints alone, so that all nodes have the same one.
        const [here, there] = [await chosenBy("maglev", "NodePort@a"), await chosenBy("maglev", "NodePort@c")];
        for (const from of ["out-a", "out-b", "out-c"]) {
          stage.check(`maglev: the same by node c for ${from}, ${family}`, there.get(from) ?? "", here.get(from) ?? "");
        }
      }
    },
  },
  {
    name: "schedulers that know weights",
    services: ["wrr", "wlc", "sed", "nq"].map((name) => serviceOf(name, "weighted")),
    ...forAgent,
    alone: true,
    play: async (stage) => {
      const weights = { a: 1, b: 3, c: 1 };
      for (const [node, weight] of Object.entries(weights)) await stage.world.cluster.setWeight(node, weight);
      // What is heard of Nodes has no order with the rest.
      await stage.world.until("node a deals by weights", async () => {
        const seen = await asked(stage, serviceOf("wrr", "weighted"), "a2", "IPv4", 10, {});
        return count(seen) === "a1 ×2, b1 ×6, c1 ×2";
      });
      for (const family of families) {
        const counts = count(await asked(stage, serviceOf("wrr", "weighted"), "a2", family, 20, {}));
        stage.check(`20 connections by wrr, ${family}`, counts, "a1 ×4, b1 ×12, c1 ×4");
        for (const algorithm of ["wlc", "sed", "nq"]) {
          const open = await asked(stage, serviceOf(algorithm, "weighted"), "a2", family, 20, { hold: true });
          stage.check(`20 open connections by ${algorithm}, ${family}`, count(open), "a1 ×4, b1 ×12, c1 ×4");
          for (const name of all) await stage.release("a2", name);
        }
      }
      for (const { name } of nodes) await stage.world.cluster.setWeight(name, 1);
    },
  },
];

/** One after the other. */
async function asked(
  stage: Stage,
  { name }: ServiceSpec,
  from: string,
  family: Family,
  times: number,
  { to = "ClusterIP", hold }: { readonly to?: string; readonly hold?: true },
): Promise<string[]> {
  const words: string[] = [];
  for (let each = 0; each < times; each++) {
    words.push(await stage.ask("TCP", { from, to, service: name, family, ...(hold && { hold }) }));
  }
  return words;
}

/** "a1 ×4, b1 ×4". */
function count(words: readonly string[]): string {
  const names = [...new Set(words)].sort();
  return names.map((name) => `${name} ×${words.filter((word) => word === name).length}`).join(", ");
}
