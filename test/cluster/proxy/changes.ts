// What must hold while things change: flows of UDP, health checks, a program that is started anew. Each change has Services
// of its own and is a sequence of checks; the table (tables/) has what holds while nothing changes.
import { run } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import type { Outcome, Question } from "./messages.ts";
import type { Endpoint, ServiceSpec } from "./objects.ts";
import { nodeOf } from "./places.ts";
import { destination, wordOf } from "./play.ts";
import { families, type Family, parse } from "./row.ts";
import type { World } from "./world.ts";

export interface Change {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
  /** It disturbs the others. */
  readonly alone?: true;
  readonly play: (stage: Stage) => Promise<void>;
}

export interface Checked {
  readonly change: string;
  readonly check: string;
  readonly expected: string;
  readonly seen: string;
  readonly right: boolean;
  readonly because: string | undefined;
}

/** What a change does, and what it finds. */
export class Stage {
  readonly world: World;
  readonly checked: Checked[] = [];
  readonly #change: string;
  readonly #isReference: boolean;

  constructor(world: World, change: string, isReference: boolean) {
    this.world = world;
    this.#change = change;
    this.#isReference = isReference;
  }

  /** As in row.ts: "a1, but kube-proxy: drop". */
  check(check: string, seen: string, text: string, because?: string): void {
    const expected = parse(text, this.#isReference);
    const right = expected.oneOf ? expected.words.includes(seen) : expected.text === seen;
    this.checked.push({ change: this.#change, check, expected: expected.text, seen, right, because });
  }

  /** Its slices are written anew; returns when all nodes know. */
  async endpoints(service: string, endpoints: readonly Endpoint[]): Promise<void> {
    await this.world.cluster.putEndpoints({ name: service, endpoints });
    await this.world.settled();
  }

  /** The same, until it is as expected: entries of conntrack go after the rules have come. */
  async flowGoesTo(expected: string, ...where: Parameters<Stage["flow"]>): Promise<string> {
    let seen = "";
    const met = async (): Promise<boolean> => (seen = await this.flow(...where)) === expected;
    await this.world.until("a flow goes where it should", met, 5_000).catch(() => {});
    return seen;
  }

  /** A datagram of the flow that has this port. */
  async flow(from: string, to: string, service: string, family: Family, fromPort: number): Promise<string> {
    const place = destination(to, this.world.numberOf(service), family);
    const question: Question = { do: "ask", protocol: "UDP", family, ...place, fromPort, withinMs: 900 };
    return wordOf(await this.world.residents.ask(from, question));
  }

  async connect(from: string, to: string, service: string, family: Family): Promise<string> {
    const place = destination(to, this.world.numberOf(service), family);
    return wordOf(
      await this.world.residents.ask(from, { do: "ask", protocol: "TCP", family, ...place, withinMs: 900 }),
    );
  }

  get(from: string, url: string): Promise<Outcome> {
    return this.world.residents.ask(from, { do: "get", url });
  }
}

const ways: readonly (readonly [from: string, to: string, star: "" | "*"])[] = [
  ["a2", "ClusterIP", ""],
  ["out-a", "LoadBalancer", "*"],
  ["out-a", "NodePort@a", "*"],
];

export const changes: readonly Change[] = [
  {
    name: "a flow of UDP leaves an endpoint that is gone",
    services: [{ name: "udp-moved", endpoints: ["a1"] }],
    play: async (stage) => {
      const each = async (name: string): Promise<void> => {
        for (const family of families) {
          for (const [from, to, star] of ways) {
            const seen = await stage.flowGoesTo(name + star, from, to, "udp-moved", family, 40_001);
            stage.check(`${from} → ${to} ${family}`, seen, name + star);
          }
        }
      };
      await each("a1");
      await stage.endpoints("udp-moved", ["b1"]);
      await each("b1");
    },
  },
  {
    name: "a flow of UDP while there is no endpoint",
    services: [{ name: "udp-none", endpoints: ["a1"] }],
    play: async (stage) => {
      const each = async (name: string): Promise<void> => {
        for (const family of families) {
          for (const [from, to, star] of ways) {
            const seen = await stage.flowGoesTo(name + star, from, to, "udp-none", family, 40_002);
            stage.check(`${from} → ${to} ${family}`, seen, name + star);
          }
        }
      };
      await each("a1");
      await stage.endpoints("udp-none", []);
      for (const family of families) {
        const seen = await stage.flowGoesTo("reject", "a2", "ClusterIP", "udp-none", family, 40_002);
        stage.check(`none: a2 → ClusterIP ${family}`, seen, "reject");
      }
      await stage.endpoints("udp-none", ["b1"]);
      await each("b1");
    },
  },
  {
    name: "a flow of UDP stays with an endpoint that is ending and serves",
    services: [{ name: "udp-ending", endpoints: ["a1"] }],
    play: async (stage) => {
      for (const family of families) {
        stage.check(`ready, ${family}`, await stage.flow("a2", "ClusterIP", "udp-ending", family, 40_003), "a1");
      }
      await stage.endpoints("udp-ending", [{ pod: "a1", state: "ending" }, "b1"]);
      for (const family of families) {
        stage.check(
          `the same flow, ${family}`,
          await stage.flow("a2", "ClusterIP", "udp-ending", family, 40_003),
          "a1",
        );
        stage.check(`a new flow, ${family}`, await stage.flow("a2", "ClusterIP", "udp-ending", family, 40_004), "b1");
      }
    },
  },
  {
    name: "a flow of UDP ends with its Service",
    services: [{ name: "udp-deleted", endpoints: ["a1"] }],
    play: async (stage) => {
      for (const family of families) {
        stage.check(`before, ${family}`, await stage.flow("a2", "ClusterIP", "udp-deleted", family, 40_005), "a1");
      }
      await stage.world.cluster.deleteService("udp-deleted");
      await stage.world.settled();
      for (const family of families) {
        stage.check(
          `after, ${family}`,
          await stage.flow("a2", "ClusterIP", "udp-deleted", family, 40_005),
          "drop, but kube-proxy: a1",
          "kubernetes/kubernetes#141371",
        );
      }
    },
  },
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
      await stage.world.until("healthz of node c changes", async () => !(await statuses()).startsWith("200"), 10_000);
      stage.check("healthz and livez with the taint", await statuses(), "503 200");
      await stage.world.cluster.taintNode("c", []);
      await stage.world.until(
        "healthz of node c changes back",
        async () => (await statuses()).startsWith("200"),
        10_000,
      );
    },
    alone: true,
  },
  {
    name: "the program starts anew",
    services: [
      { name: "restarted", endpoints: ["a1", "b1", "c1"] },
      { name: "changed-meanwhile", endpoints: ["a1"] },
    ],
    play: async (stage) => {
      const flows = async (family: Family): Promise<string> => {
        const ports = Array.from({ length: 8 }, (_, index) => 40_010 + index);
        const words = ports.map((port) => stage.flow("a2", "ClusterIP", "restarted", family, port));
        return (await Promise.all(words)).join(" ");
      };
      const before = await Promise.all(families.map(flows));
      const requests = new Requests(stage, "restarted");
      await stage.world.stop();
      stage.check("without the program", await stage.connect("a2", "ClusterIP", "changed-meanwhile", "IPv4"), "a1");
      await stage.world.cluster.putEndpoints({ name: "changed-meanwhile", endpoints: ["b1"] });
      await stage.world.start({});
      for (const family of families) {
        const seen = await stage.connect("a2", "ClusterIP", "changed-meanwhile", family);
        stage.check(`what changed meanwhile, ${family}`, seen, "b1");
      }
      stage.check("requests from before it stopped until it was ready again", await requests.end(), "all answered");
      for (const [index, family] of families.entries()) {
        const served = before[index]?.split(" ").every((word) => ["a1", "b1", "c1"].includes(word));
        stage.check(`flows of UDP are served, ${family}`, served ? "yes" : (before[index] ?? "none"), "yes");
        stage.check(`flows of UDP stay, ${family}`, await flows(family), before[index] ?? "");
      }
    },
    alone: true,
  },
  {
    name: "the program starts in another mode, and in its own again",
    services: [{ name: "other-mode", endpoints: ["a1", "b1"] }],
    play: async (stage) => {
      const before = await namesOfRules("a");
      stage.check("there are rules", before === "" ? "none" : "some", "some");
      await stage.world.start({}, stage.world.mode === "nftables" ? "iptables" : "nftables");
      const between = await namesOfRules("a");
      stage.check("the other mode has other rules", between === before ? "the same" : "others", "others");
      stage.check("of the first mode is left", common(before, between), "nothing");
      await stage.world.start({});
      stage.check("of the other mode is left", common(between, await namesOfRules("a")), "nothing");
      stage.check("it serves", await stage.connect("a2", "ClusterIP", "other-mode", "IPv4"), "one of a1 b1");
    },
    alone: true,
  },
];

/** Asks on and on, TCP of both families, until it is told to end. */
class Requests {
  readonly #counts = new Map<string, number>();
  readonly #done: Promise<void>;
  #ends = false;

  constructor(stage: Stage, service: string) {
    this.#done = this.#run(stage, service);
  }

  async end(): Promise<string> {
    this.#ends = true;
    await this.#done;
    const failed = [...this.#counts].filter(([word]) => !/^[a-c]1$/.test(word));
    return failed.length === 0 ? "all answered" : failed.map(([word, count]) => `${word} ×${count}`).join(", ");
  }

  async #run(stage: Stage, service: string): Promise<void> {
    while (!this.#ends) {
      for (const family of families) {
        const word = await stage.connect("a2", "ClusterIP", service, family);
        this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1);
      }
    }
  }
}

/** Of all nft tables and of all chains that somebody made for iptables. KUBE-FIREWALL is the kubelet's. */
async function namesOfRules(node: string): Promise<string> {
  const texts = [["nft", "list", "tables"], ["iptables-save"], ["ip6tables-save"]].map((command) =>
    run([...inside(node), ...command]),
  );
  const names = (await Promise.all(texts)).flatMap((text) =>
    // ":KUBE-SERVICES - [0:0]"; a built-in chain has a policy instead of "-".
    text.split("\n").filter((line) => /^:\S+ - /.test(line) || (/^table /.test(line) && !builtInTables.test(line))),
  );
  return names
    .map((name) => name.replace(/ \[.*/, ""))
    .filter((name) => !name.startsWith(":KUBE-FIREWALL "))
    .sort()
    .join("\n");
}
/** The tables in which the nft flavour of iptables keeps its chains. */
const builtInTables = / (filter|nat|mangle|raw|security)$/;

function common(some: string, others: string): string {
  const known = others.split("\n");
  return (
    some
      .split("\n")
      .filter((name) => known.includes(name))
      .join(" ") || "nothing"
  );
}

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

export async function playChanges(world: World, only: string, isReference: boolean): Promise<Checked[]> {
  const chosen = changes.filter(({ name }) => name.includes(only));
  const played = async ({ name, play }: Change): Promise<Checked[]> => {
    const stage = new Stage(world, name, isReference);
    try {
      await play(stage);
    } catch (error) {
      stage.check("played to its end", error instanceof Error ? error.message : String(error), "yes");
    }
    return stage.checked;
  };
  const together = await Promise.all(chosen.filter(({ alone }) => !alone).map(played));
  const oneByOne: Checked[][] = [];
  for (const change of chosen.filter(({ alone }) => alone)) oneByOne.push(await played(change));
  return [...together, ...oneByOne].flat();
}
