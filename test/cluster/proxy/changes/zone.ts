// A node whose zone changes: hints lead elsewhere.
import { nodeOf } from "../places.ts";
import { families } from "../row.ts";
import type { Change } from "./stage.ts";

export const zone: readonly Change[] = [
  {
    name: "the node's zone changes",
    services: [
      {
        name: "zone-changes",
        endpoints: [
          { pod: "a1", zones: ["z1"] },
          { pod: "c1", zones: ["z2"] },
        ],
      },
    ],
    play: async (stage) => {
      const { name, zone } = nodeOf("c");
      await stage.world.cluster.setZone(name, "z1");
      for (const family of families) {
        const way = { from: "c2", to: "ClusterIP", service: "zone-changes", family };
        // Before it knows: c1, always.
        await stage.checkFlow(`c2 → ClusterIP ${family} in zone z1`, way, "a1");
      }
      await stage.world.cluster.setZone(name, zone);
      for (const family of families) {
        const way = { from: "c2", to: "ClusterIP", service: "zone-changes", family };
        await stage.checkFlow(`c2 → ClusterIP ${family} in zone ${zone} again`, way, "c1");
      }
    },
  },
];
