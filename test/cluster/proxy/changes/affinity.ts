// Affinity ClientIP over time: one endpoint for a client, by whichever frontend it comes, as long as there is that endpoint.
import { families, type Family, protocols } from "../row.ts";
import type { Change, Stage } from "./stage.ts";

const all = ["a1", "b1", "c1"];

export const affinity: readonly Change[] = [
  {
    name: "affinity is one for all frontends",
    // ipvs remembers a client for each frontend by itself.
    modes: ["nftables", "iptables"],
    services: [{ name: "sticky-frontends", endpoints: all, affinity: "ClientIP" }],
    play: async (stage) => {
      for (const family of families) {
        // All that comes from out-a passes node a, which alone knows whom it chose.
        const frontends = ["NodePort@a", "ClusterIP", "ExternalIP", "LoadBalancer"];
        for (const protocol of protocols) {
          const endpoints: string[] = [];
          for (const to of frontends) {
            endpoints.push(await stage.ask(protocol, { from: "out-a", to, service: "sticky-frontends", family }));
          }
          stage.check(`out-a, ${family} ${protocol}`, [...new Set(endpoints)].join(" "), "one of a1* b1* c1*");
        }
      }
    },
  },
  {
    name: "affinity ends with the endpoint",
    services: [{ name: "sticky-gone", endpoints: all, affinity: "ClientIP" }],
    play: async (stage) => {
      const chosen = await Promise.all(families.map((family) => endpointsOf(stage, family)));
      for (const [index, family] of families.entries()) {
        stage.check(`a2 → ClusterIP ${family}`, chosen[index] ?? "", "one of a1 b1 c1");
      }
      const left = all.filter((name) => !chosen.includes(name));
      await stage.endpoints("sticky-gone", left);
      for (const family of families) {
        const seen = await endpointsOf(stage, family);
        stage.check(`a2 → ClusterIP ${family} without them`, seen, `one of ${left.join(" ")}`);
      }
    },
  },
];

/** Who answered a2, each once. */
async function endpointsOf(stage: Stage, family: Family): Promise<string> {
  const seen = new Set<string>();
  for (let tries = 0; tries < 12; tries++) {
    seen.add(await stage.ask("TCP", { from: "a2", to: "ClusterIP", service: "sticky-gone", family }));
  }
  return [...seen].join(" ");
}
