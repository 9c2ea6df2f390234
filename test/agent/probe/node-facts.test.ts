// A report, put together; and what /proc says where there is one, and where there is none.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import { hostFacts } from "../../../agent/probe/host-facts.ts";
import type { KernelFacts } from "../../../agent/probe/kernel-report.ts";
import { nodeFacts, type NodeFactsOptions } from "../../../agent/probe/node-facts.ts";
import { nodeReportSchema } from "../../../src/shared/model/node-report.ts";
import { plan, planEndpoint, planPort, planService } from "../dataplane/plans.ts";
import { observe } from "../plan/observe.ts";
import { node, service } from "../source/objects.ts";

let folder: string | undefined;
afterEach(() => {
  vi.useRealTimers();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

function proc(files: Readonly<Record<string, string>>): string {
  folder = mkdtempSync(join(tmpdir(), "postern-proc-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

describe("the host", () => {
  it("says its connection tracking and its packet filters", async () => {
    const root = proc({
      "sys/net/netfilter/nf_conntrack_count": "262100\n",
      "sys/net/netfilter/nf_conntrack_max": "262144\n",
      modules:
        "nf_tables 376832 10 nft_ct,nft_chain_nat, Live 0x0\niptable_filter 16384 1 - Live 0x0\next4 1 1 - Live 0x0\n",
    });
    expect(await hostFacts(root)).toEqual({
      conntrack: { count: 262_100, max: 262_144 },
      packetFilters: ["nf_tables", "iptable_filter"],
    });
  });

  it("says that it does not know", async () => {
    expect(await hostFacts("/nonexistent")).toEqual({ conntrack: null, packetFilters: null });
    expect(await hostFacts(proc({ "sys/net/netfilter/nf_conntrack_count": "many\n" }))).toMatchObject({
      conntrack: null,
    });
  });
});

const kernel: KernelFacts = { lastSync: 1_000, keepsUp: true, lastCheck: undefined };

function options(more: Partial<NodeFactsOptions> = {}): NodeFactsOptions {
  const backends = new Backends();
  backends.update(plan(planService("default/web", [planPort([planEndpoint("10.0.0.1", 8080)])])));
  return {
    ...{ software: "postern-agent 0.1.0", node: "n1", proxy: "nftables", backends },
    source: () => ({ kind: "kube", state: "in-step", since: 1, lastEvent: 2, problems: [], problemsLeftOut: 0 }),
    observed: () => observe(node("n1"), service("web")),
    isExposed: () => true,
    standing: () => "applied",
    executorProblems: () => [],
    kernel: () => kernel,
    checkKernel: () => undefined,
    dial: async () => ({ result: "refused", ms: 1, why: "ECONNREFUSED" }),
    host: async () => ({ conntrack: null, packetFilters: null }),
    ...more,
  };
}

describe("the facts of a report", () => {
  it("are a report, with the Service only where one was asked for", async () => {
    const without = await nodeFacts(options(), {});
    const told = await nodeFacts(options(), { service: "default/web" });
    for (const each of [without, told])
      expect(nodeReportSchema.parse({ ...each, receivedAt: 1, tookMs: 1 })).toMatchObject(each);
    expect([without.service, told.service?.ports[0]?.endpoints[0]?.dial.result]).toEqual([undefined, "refused"]);
    expect(told).toMatchObject({ planApplied: true, proxy: "nftables", kernel: { state: "in-step" } });
  });

  it("ask the kernel once, wait a second for it, and not again within ten", async () => {
    vi.useFakeTimers({ now: 1_000_000 });
    let asked = 0;
    let facts = kernel;
    const never = options({
      kernel: () => facts,
      checkKernel: () => {
        asked++;
        return new Promise(() => {});
      },
    });
    const late = nodeFacts(never, {});
    await vi.advanceTimersByTimeAsync(999);
    let over = false;
    void late.then(() => (over = true));
    await vi.advanceTimersByTimeAsync(0);
    expect(over).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect((await late).kernel).toMatchObject({ state: "unknown", checkedAt: null });
    facts = { ...kernel, lastCheck: { at: Date.now(), intact: true } };
    expect((await nodeFacts(never, {})).kernel).toMatchObject({ state: "in-step", checkedAt: Date.now() });
    expect(asked).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    void nodeFacts(never, {});
    expect(asked).toBe(2);
  });

  it("say what a check found", async () => {
    let facts = kernel;
    const changed = options({
      kernel: () => facts,
      checkKernel: async () => {
        facts = { ...kernel, lastCheck: { at: Date.now(), intact: false } };
      },
    });
    expect((await nodeFacts(changed, {})).kernel.state).toBe("differs");
  });
});
