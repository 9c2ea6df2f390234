// What balancers are told of a node.
import type { Outcome } from "../messages.ts";
import { nodeOf } from "../places.ts";
import { families } from "../row.ts";
import type { Change } from "./stage.ts";

export const health: readonly Change[] = [
  {
    name: "health checks of Services of external policy Local",
    services: [
      { name: "health-local", endpoints: ["a1", "a2", "b1"], external: "Local" },
      { name: "health-ending", endpoints: [{ pod: "a1", state: "ending" }, "b1"], external: "Local" },
    ],
    play: async (stage) => {
      const expected: readonly (readonly [service: string, node: string, text: string, because?: string])[] = [
        ["health-local", "a", "200, 2 endpoints, weight 2"],
        ["health-local", "b", "200, 1 endpoints, weight 1"],
        ["health-local", "c", "503, 0 endpoints, weight 0"],
        ["health-ending", "a", "503, 0 endpoints, weight 0", "it serves on, but the balancer must send nothing new"],
        ["health-ending", "b", "200, 1 endpoints, weight 1"],
      ];
      for (const [service, node, text, because] of expected) {
        const port = await stage.world.cluster.healthPort(service);
        for (const family of families) {
          const address = nodeOf(node).addresses[family];
          const page = await stage.get("out-a", `http://${family === "IPv6" ? `[${address}]` : address}:${port}/`);
          stage.check(`${service} on ${node}, ${family}`, healthWords(page), text, because);
        }
      }
    },
  },
  {
    name: "the proxy's own health while its node is to be deleted",
    services: [],
    play: async (stage) => {
      const statuses = async (): Promise<string> => {
        const pages = ["healthz", "livez"].map((path) =>
          stage.get("out-c", `http://${nodeOf("c").addresses.IPv4}:10256/${path}`),
        );
        return (await Promise.all(pages))
          .map((page) => (page.kind === "page" ? `${page.status}` : page.kind))
          .join(" ");
      };
      stage.check("healthz and livez", await statuses(), "200 200");
      await stage.world.cluster.taintNode("c", [{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }]);
      await stage.world.until("healthz of node c changes", async () => !(await statuses()).startsWith("200"));
      stage.check("healthz and livez with the taint", await statuses(), "503 200");
      await stage.world.cluster.taintNode("c", []);
      await stage.world.until("healthz of node c changes back", async () => (await statuses()).startsWith("200"));
    },
    alone: true,
  },
];

function healthWords(page: Outcome): string {
  if (page.kind !== "page") return JSON.stringify(page);
  let localEndpoints: unknown;
  try {
    ({ localEndpoints } = JSON.parse(page.body) as { localEndpoints?: unknown });
  } catch {
    return `${page.status} ${page.body}`;
  }
  return `${page.status}, ${String(localEndpoints)} endpoints, weight ${page.headers["x-load-balancing-endpoint-weight"]}`;
}
