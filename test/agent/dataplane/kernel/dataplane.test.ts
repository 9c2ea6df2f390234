// What surrounds the executor: in which order it happens, once or each time, and what a failure leaves undone.
import { beforeEach, describe, expect, it } from "vitest";
import { KernelDataplane } from "../../../../agent/dataplane/kernel/dataplane.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import { defaultSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { ForwardingPlan } from "../../../../agent/plan/plan.ts";
import { dnsPort, kernelNode, planOf, planService } from "../kernel-plans.ts";

const conntrack = {
  ...{ maxPerCore: 1, min: 1, tcpEstablishedSeconds: 1, tcpCloseWaitSeconds: 1, tcpBeLiberal: false },
  ...{ udpSeconds: 0, udpStreamSeconds: 0 },
};
const entry = (address: string, port: number, by: string) =>
  `udp 17 9 src=10.0.0.2 dst=${address} sport=1 dport=${port} src=${by} dst=10.0.0.2 sport=53 dport=1\n`;
const dns = (...serving: readonly string[]): ForwardingPlan =>
  planOf([planService("default/dns", [dnsPort({ serving, nodePort: 30053 })])], {
    ...kernelNode,
    addresses: ["192.168.1.10"],
  });

const others = "clean iptables,ipvs,kube-proxy's nftables";

describe("kernel data plane", () => {
  let happened: string[];
  let said: Record<string, readonly string[]>;
  let fails: boolean;
  let intact: boolean;
  let entries: string;
  let listFails: boolean;
  let alone: boolean;
  /** Of each try: what could not be set. */
  let unset: (readonly string[])[];
  /** Of each cleanup: how much stays, or why it failed. */
  let open: (number | string)[];
  let dataplane: KernelDataplane;

  beforeEach(() => start());
  const start = (settings = defaultSettings) => {
    [alone, unset] = [true, []];
    [happened, said, fails, intact, entries, listFails, open] = [[], {}, false, true, "", false, []];
    const run: Run = async (_program, args) => {
      happened.push(args[0] === "-L" ? `list ${args[2]}` : `delete ${args[args.indexOf("--orig-dst") + 1]}`);
      return listFails
        ? { code: undefined, stdout: "", stderr: "conntrack cannot be run" }
        : { code: 0, stdout: entries, stderr: "" };
    };
    dataplane = new KernelDataplane({
      settings,
      conntrack,
      effects: { run, localAddresses: () => ["192.168.1.10", "10.5.0.1"] },
      isAlone: () => alone,
      executor: {
        apply: async () => {
          happened.push("apply");
          if (fails) throw new Error("nft: no");
          return { problems: [] };
        },
        check: async () => {
          happened.push("check");
          return intact ? "intact" : "changed";
        },
        renew: () => happened.push("renew"),
        clear: async () => void happened.push("clear"),
        cleanup: async () => happened.push("cleanup"),
      },
      warn: (topic, texts) => (said[topic] = texts),
      info: (text) => happened.push(text),
      setSysctls: async (wanted) => {
        happened.push(`sysctls ${wanted.some(({ path }) => path.includes("ipv6")) ? "6" : "4"}`);
        return unset.shift() ?? [];
      },
      cleanup: async (_settings, _effects, which, leaveOpen) => {
        happened.push(`${leaveOpen === true ? "clean" : "end"} ${which?.join()}`);
        const [left] = open.splice(0, 1);
        if (left === undefined) return [];
        if (typeof left === "string") return [{ of: "ipvs", outcome: left, failed: true, open: 0 }];
        return [{ of: "ipvs", outcome: `${left} open`, failed: false, open: left }];
      },
    });
  };

  it("sets sysctls, makes the rules, takes away what other modes left, then ends flows; only flows again", async () => {
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened).toEqual(["sysctls 4", "apply", others, "check", "list ipv4"]);
    expect(said["sysctls"]).toBeUndefined();
    happened.length = 0;
    await dataplane.apply(dns("10.1.0.2 53"));
    await dataplane.apply(dns("10.1.0.2 53"));
    expect(happened).toEqual(["apply", "list ipv4", "apply"]);
  });

  it("sets once more what the first rules may have made the kernel load, and says what could not be set then", async () => {
    unset = [["no conntrack", "read only"], ["read only"]];
    await dataplane.apply(dns());
    expect([happened.slice(0, 4), said["sysctls"]]).toEqual([
      ["sysctls 4", "apply", "sysctls 4", others],
      ["read only"],
    ]);
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened.filter((each) => each.startsWith("sysctls"))).toHaveLength(2);
  });

  it("says what could not be set also where the rules cannot be made", async () => {
    [unset, fails] = [[["read only"], ["read only"]], true];
    await expect(dataplane.apply(dns())).rejects.toThrow("nft: no");
    expect(said["sysctls"]).toEqual(["read only"]);
  });

  it("makes its rules again where they went along with another mode's", async () => {
    intact = false;
    await dataplane.apply(dns());
    expect(happened.slice(1, 5)).toEqual(["apply", others, "check", "apply"]);
  });

  it("takes away what another mode's connections went through once they have ended, and says so", async () => {
    open = [2, 1, 0];
    await dataplane.apply(dns());
    await dataplane.apply(dns());
    for (let time = 0; time < 3; time++) expect(await dataplane.check()).toBe("intact");
    const said = (open: number) => `what ipvs may have left on this node: ${open} open`;
    expect(happened.filter((each) => !/^(sysctls|apply|list)/.test(each))).toEqual([
      ...[others, said(2), "check"],
      ...["clean ipvs", "check"],
      ...["clean ipvs", said(0), "check"],
      ...["check"],
    ]);
  });

  it("takes away nothing of others while another agent is at work, which would make it again", async () => {
    alone = false;
    await dataplane.apply(dns());
    await dataplane.check();
    expect(happened).toEqual(["sysctls 4", "apply", "list ipv4", "check"]);
    [happened.length, alone] = [0, true];
    // Modes share names of chains.
    intact = false;
    expect(await dataplane.check()).toBe("changed");
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened).toEqual([others, "check", "apply", "list ipv4"]);
  });

  it("takes it away in an apply that comes first", async () => {
    alone = false;
    await dataplane.apply(dns());
    [happened.length, alone] = [0, true];
    await dataplane.apply(dns());
    await dataplane.check();
    expect(happened).toEqual(["apply", others, "check", "check"]);
  });

  it("tries again what could not be taken away, and says why once", async () => {
    open = ["the lock is held", "the lock is held", 0];
    await dataplane.apply(dns());
    for (let time = 0; time < 3; time++) await dataplane.check();
    const said = (outcome: string) => `what ipvs may have left on this node: ${outcome}`;
    expect(happened.filter((each) => !/^(sysctls|apply|list|check)/.test(each))).toEqual([
      ...[others, said("the lock is held"), "clean ipvs", "clean ipvs", said("0 open")],
    ]);
  });

  it("touches neither flows nor other modes before its own rules stand", async () => {
    fails = true;
    await expect(dataplane.apply(dns())).rejects.toThrow("nft: no");
    expect(happened).toEqual(["sysctls 4", "apply"]);
    fails = false;
    await dataplane.apply(dns());
    expect(happened.slice(2)).toEqual(["apply", others, "check", "list ipv4"]);
  });

  it("ends flows to endpoints that went while a sync failed", async () => {
    await dataplane.apply(dns("10.1.0.1 53", "10.1.0.2 53"));
    fails = true;
    await expect(dataplane.apply(dns("10.1.0.2 53"))).rejects.toThrow();
    fails = false;
    happened.length = 0;
    entries = entry("10.96.0.10", 53, "10.1.0.1");
    await dataplane.apply(dns("10.1.0.2 53"));
    expect(happened).toEqual(["apply", "list ipv4", "delete 10.96.0.10"]);
  });

  it("ends flows to NodePorts at the addresses where they are served, and of Services that went", async () => {
    entries = entry("192.168.1.10", 30053, "10.1.0.9") + entry("10.5.0.1", 30053, "10.1.0.9");
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened.filter((what) => what.startsWith("delete"))).toEqual(["delete 192.168.1.10"]);
    entries = entry("10.96.0.10", 53, "10.1.0.1");
    await dataplane.apply(planOf([]));
    expect(happened.at(-1)).toBe("delete 10.96.0.10");
  });

  it("says what conntrack does not do, and does not fail for it", async () => {
    listFails = true;
    await expect(dataplane.apply(dns())).resolves.toEqual({ problems: [] });
    expect(said["conntrack"]).toEqual([
      "UDP flows of IPv4 to endpoints that are gone may go on: conntrack cannot be run",
    ]);
  });

  it("looks for flows that the rules did not lead anywhere while somebody had changed them, or they could not be made", async () => {
    await dataplane.apply(dns("10.1.0.1 53"));
    intact = false;
    expect(await dataplane.check()).toBe("changed");
    [happened.length, intact] = [0, true];
    entries = entry("10.96.0.10", 53, "10.96.0.10");
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened).toEqual(["apply", "list ipv4", "delete 10.96.0.10"]);
    fails = true;
    await expect(dataplane.apply(dns("10.1.0.1 53"))).rejects.toThrow("nft: no");
    [happened.length, fails] = [0, false];
    await dataplane.apply(dns("10.1.0.1 53"));
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(happened).toEqual(["apply", "list ipv4", "delete 10.96.0.10", "apply"]);
  });

  it("sets sysctls for a family when its first Service comes", async () => {
    await dataplane.apply(planOf([]));
    expect(happened[0]).toBe("apply");
    await dataplane.apply(dns());
    await dataplane.apply(
      planOf([planService("default/dns", [dnsPort(), dnsPort({ family: "IPv6", clusterIP: "fd00::a" })])]),
    );
    expect(happened.filter((what) => what.startsWith("sysctls"))).toEqual(["sysctls 4", "sysctls 6"]);
  });

  it("leaves the kernel alone once retired, and never clears it", async () => {
    await dataplane.apply(dns());
    happened.length = 0;
    intact = false;
    await dataplane.retire();
    await dataplane.apply(dns("10.1.0.1 53"));
    expect(await dataplane.check()).toBe("intact");
    await dataplane.clear();
    expect(happened).toEqual([]);
  });

  it("has retired when what was under way has ended, well or not", async () => {
    fails = true;
    const failing = dataplane.apply(dns());
    const retired = dataplane.retire().then(() => happened.push("retired"));
    await expect(failing).rejects.toThrow("nft: no");
    await retired;
    expect(happened).toEqual(["sysctls 4", "apply", "retired"]);
  });
});
