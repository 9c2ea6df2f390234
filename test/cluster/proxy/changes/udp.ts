// Flows of UDP, which conntrack leads on whatever the rules have become.
import { type Expectation, families } from "../row.ts";
import type { Change, Stage } from "./stage.ts";

/** One flow by each frontend and family; `endpoint` is where they must lead. */
async function checkAll(stage: Stage, service: string, endpoint: string): Promise<void> {
  for (const family of families) {
    for (const [from, to, star] of ways) {
      const way = { from, to, service, family, fromPort: 40_001 };
      await stage.checkFlow(`${from} → ${to} ${family}`, way, endpoint + star);
    }
  }
}
const ways = [
  ["a2", "ClusterIP", ""],
  ["out-a", "LoadBalancer", "*"],
  ["out-a", "NodePort@a", "*"],
] as const;

export const udp: readonly Change[] = [
  {
    name: "a flow of UDP leaves an endpoint that is gone",
    services: [{ name: "udp-moved", endpoints: ["a1"] }],
    play: async (stage) => {
      await checkAll(stage, "udp-moved", "a1");
      await stage.endpoints("udp-moved", ["b1"]);
      await checkAll(stage, "udp-moved", "b1");
    },
  },
  {
    name: "a flow of UDP while there is no endpoint",
    services: [{ name: "udp-none", endpoints: ["a1"] }],
    play: async (stage) => {
      await checkAll(stage, "udp-none", "a1");
      await stage.endpoints("udp-none", []);
      for (const family of families) {
        const way = { from: "a2", to: "ClusterIP", service: "udp-none", family, fromPort: 40_001 };
        await stage.checkFlow(`none: a2 → ClusterIP ${family}`, way, "reject", "kubernetes/kubernetes#139628");
      }
      await stage.endpoints("udp-none", ["b1"]);
      await checkAll(stage, "udp-none", "b1");
    },
  },
  {
    name: "a flow of UDP stays with an endpoint that is ending and serves",
    services: [{ name: "udp-ending", endpoints: ["a1"] }],
    play: async (stage) => {
      for (const family of families) {
        const way = { from: "a2", to: "ClusterIP", service: "udp-ending", family };
        await stage.checkFlow(`ready, ${family}`, { ...way, fromPort: 40_002 }, "a1");
      }
      await stage.endpoints("udp-ending", [{ pod: "a1", state: "ending" }, "b1"]);
      for (const family of families) {
        const way = { from: "a2", to: "ClusterIP", service: "udp-ending", family };
        await stage.checkFlow(`a new flow, ${family}`, { ...way, fromPort: 40_003 }, "b1");
        const stays = { otherwise: "a1", ipvs: "b1" };
        const because =
          "ipvs mode lets endpoints of UDP go at once, as kube-proxy does: only TCP's are kept while they drain";
        await stage.checkFlow(`the same flow, ${family}`, { ...way, fromPort: 40_002 }, stays, because);
      }
    },
  },
  {
    name: "a flow of UDP ends with its Service",
    services: [{ name: "udp-deleted", endpoints: ["a1"] }],
    play: async (stage) => {
      const checkBoth = async (when: string, expect: Expectation, because?: string): Promise<void> => {
        for (const family of families) {
          const way = { from: "a2", to: "ClusterIP", service: "udp-deleted", family, fromPort: 40_004 };
          await stage.checkFlow(`${when}, ${family}`, way, expect, because);
        }
      };
      await checkBoth("before", "a1");
      await stage.world.cluster.deleteService("udp-deleted");
      await stage.world.settled();
      // In mode ipvs the flow ends with the virtual server, whatever conntrack remembers.
      const after = { otherwise: "drop, but kube-proxy: a1", ipvs: "drop" };
      await checkBoth("after", after, "kubernetes/kubernetes#141371");
    },
  },
];
