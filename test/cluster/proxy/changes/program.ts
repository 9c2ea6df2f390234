// The program ends, starts again, and changes its mode.
import { run } from "../../harness/command.ts";
import { inside } from "../../harness/places.ts";
import { nodes } from "../places.ts";
import { families, type Family, otherMode } from "../row.ts";
import type { Change, Stage } from "./stage.ts";

export const program: readonly Change[] = [
  {
    name: "the program starts anew",
    services: [
      { name: "restarted", endpoints: ["a1", "b1", "c1"] },
      { name: "changed-meanwhile", endpoints: ["a1"] },
    ],
    play: async (stage) => {
      const flows = async (family: Family): Promise<string> => {
        const words = Array.from({ length: 8 }, (_, index) =>
          stage.ask("UDP", { from: "a2", to: "ClusterIP", service: "restarted", family, fromPort: 40_010 + index }),
        );
        return (await Promise.all(words)).join(" ");
      };
      const changed = { from: "a2", to: "ClusterIP", service: "changed-meanwhile" };
      const before = await Promise.all(families.map(flows));
      const requests = new Requests(stage, "restarted");
      await stage.world.stop();
      await stage.checkConnection("without the program", { ...changed, family: "IPv4" }, "a1");
      await stage.world.cluster.putEndpoints({ name: "changed-meanwhile", endpoints: ["b1"] });
      await stage.world.start({});
      for (const family of families) {
        await stage.checkConnection(`what changed meanwhile, ${family}`, { ...changed, family }, "b1");
      }
      stage.check("requests from before it stopped until it was ready again", await requests.end(), "all answered");
      for (const [index, family] of families.entries()) {
        const words = before[index] ?? "";
        const served = words.split(" ").every((word) => ["a1", "b1", "c1"].includes(word));
        stage.check(`flows of UDP are served, ${family}`, served ? "yes" : words, "yes");
        stage.check(`flows of UDP stay, ${family}`, await flows(family), words);
      }
    },
    alone: true,
  },
  {
    name: "the program starts in another mode, and in its own again",
    services: [{ name: "other-mode", endpoints: ["a1", "b1"] }],
    play: async (stage) => {
      const { mode } = stage.world;
      const names = (): Promise<string> => namesOfRules("a", mode === "ipvs");
      // What connections of earlier questions go through stays in the agent's mode ipvs until they have ended, which takes minutes.
      const leftOf = async (former: string): Promise<string> => {
        if (mode === "ipvs") await untilGone(stage, former, names);
        return common(former, await names());
      };
      const before = await names();
      stage.check("there are rules", before === "" ? "none" : "some", "some");
      await stage.world.start({}, otherMode(mode));
      const between = await names();
      stage.check("the other mode has other rules", between === before ? "the same" : "others", "others");
      // kube-proxy removes nothing when it changes between its modes ipvs and iptables.
      const cleans = !(mode === "ipvs" && stage.isReference);
      if (cleans) stage.check("of the first mode is left", await leftOf(before), "nothing");
      const other = await names();
      await stage.world.start({});
      if (cleans) stage.check("of the other mode is left", await leftOf(other), "nothing");
      const way = { from: "a2", to: "ClusterIP", service: "other-mode", family: "IPv4" } as const;
      await stage.checkConnection("it serves", way, "one of a1 b1");
    },
    alone: true,
  },
  {
    name: "the program is upgraded to another mode, and back",
    services: [
      { name: "upgraded", endpoints: ["a1", "b1"] },
      { name: "changed-beside", endpoints: ["a1"] },
    ],
    play: async (stage) => {
      // kube-proxy's DaemonSet has no surge: two of them never run at once.
      if (stage.isReference) return;
      const { mode, cluster } = stage.world;
      const way = { from: "a2", to: "ClusterIP", family: "IPv4" } as const;
      const names = async (): Promise<string> =>
        (await Promise.all(nodes.map(({ name }) => namesOfRules(name, mode === "ipvs")))).join("\n");
      const requests = new Requests(stage, "upgraded");
      for (const [to, pod] of [
        [otherMode(mode), "b1"],
        [mode, "c1"],
      ] as const) {
        const before = await names();
        // The first one writes what changes while both run.
        await stage.world.replace("agent", to, async () => {
          await cluster.putEndpoints({ name: "changed-beside", endpoints: [pod] });
          await stage.world.settled();
        });
        await stage.checkConnection(`what changed beside it, ${to}`, { ...way, service: "changed-beside" }, pod);
        await untilGone(stage, before, names);
        stage.check(`of the mode before ${to} is left`, common(before, await names()), "nothing");
      }
      stage.check("requests meanwhile", await requests.end(), "all answered");
    },
    alone: true,
  },
];

/** Until nothing is left of the rules `former`, by what `names` says of those that there are. */
const untilGone = (stage: Stage, former: string, names: () => Promise<string>): Promise<void> =>
  stage.world.until("nothing is left of the mode before", async () => common(former, await names()) === "nothing");

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
        const word = await stage.ask("TCP", { from: "a2", to: "ClusterIP", service, family });
        this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1);
      }
    }
  }
}

/**
 * Of all nft tables, of all chains that somebody made for iptables, and of what ipvs has. KUBE-FIREWALL is the kubelet's. Chains
 * that modes ipvs and iptables both have under one name do not say whose they are.
 */
async function namesOfRules(node: string, isIpvs: boolean): Promise<string> {
  const programs = isIpvs
    ? [
        ["ipvsadm", "-S", "-n"],
        ["ipset", "list", "-n"],
        ["ip", "-o", "link", "show", "type", "dummy"],
      ]
    : [["nft", "list", "tables"]];
  const texts = [...programs, ["iptables-save"], ["ip6tables-save"]].map((command) =>
    run([...inside(node), ...command]),
  );
  const names = (await Promise.all(texts)).flatMap((text) =>
    text
      .split("\n")
      .filter((line) => kindsOfNames.some((kind) => kind.test(line)) && !builtInTables.test(line))
      .map((line) => line.replace(/ \[.*/, "")),
  );
  return names
    .filter((name) => !name.startsWith(":KUBE-FIREWALL ") && !(isIpvs && ofBothModes.test(name)))
    .sort()
    .join("\n");
}
const kindsOfNames = [
  // ":KUBE-SERVICES - [0:0]"; a built-in chain has a policy instead of "-".
  /^:\S+ - /,
  /^table /,
  // A virtual server, a set, and the device of their addresses.
  /^-A -/,
  /^KUBE-/,
  /kube-ipvs0/,
];
const ofBothModes =
  /^:KUBE-(SERVICES|POSTROUTING|MARK-MASQ|FORWARD|PROXY-FIREWALL|PROXY-CANARY|NODEPORTS|EXTERNAL-SERVICES) /;
/** The tables in which the nft flavour of iptables keeps its chains. */
const builtInTables = / (filter|nat|mangle|raw|security)$/;

/** Each kind once: the names of a Service's chains end with a hash. */
function common(some: string, others: string): string {
  const known = others.split("\n");
  const left = some.split("\n").filter((name) => known.includes(name));
  return [...new Set(left.map(kindOf))].sort().join(" ") || "nothing";
}

function kindOf(name: string): string {
  if (name.startsWith("-A -")) return "servers";
  if (name.startsWith("KUBE-")) return "sets";
  if (name.includes("kube-ipvs0")) return "device";
  return name.replace(/-[A-Z2-7]{16} -$/, "-… -");
}
