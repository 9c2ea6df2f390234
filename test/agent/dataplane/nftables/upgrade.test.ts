// A release that changes nothing but the rules of chains that Services share writes them at the upgrade.
import { expect, test, vi } from "vitest";
import type * as Elements from "../../../../agent/dataplane/nftables/elements.ts";
import { nftablesExecutor } from "../../../../agent/dataplane/nftables/executor.ts";
import { defaultSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import { kernelPort, planOf, planService, to } from "../kernel-plans.ts";
import { FakeNft } from "./fake-nft.ts";

const release = vi.hoisted(() => ({ suffix: "" }));
vi.mock("../../../../agent/dataplane/nftables/elements.ts", async (original) => {
  const real = await original<typeof Elements>();
  const elementsOf: typeof real.elementsOf = (...args) => {
    const out = real.elementsOf(...args);
    const chains = [...out.chains].map(([name, rules]) => [name, rules.map((rule) => rule + release.suffix)] as const);
    return { ...out, chains: new Map(chains) };
  };
  return { ...real, elementsOf };
});

test("a table whose elements are the same, but not the rules that they lead to, is written anew", async () => {
  const nft = new FakeNft();
  const plan = planOf([planService("default/web", [kernelPort("10.96.0.1", [to("10.244.0.1"), to("10.244.0.2")])])]);
  const upgraded = async (suffix: string) => {
    release.suffix = suffix;
    const before = nft.scripts.length;
    const executor = nftablesExecutor(
      { ...defaultSettings, families: ["IPv4"] },
      { run: nft.run, localAddresses: () => [] },
    );
    await executor.apply(plan);
    return nft.scripts.length - before;
  };
  expect([await upgraded(""), await upgraded(""), await upgraded(" # 2"), await upgraded(" # 2")]).toEqual([
    1, 0, 1, 0,
  ]);
  expect(nft.table("ip").chains.get("random-2-tcp")).toEqual([expect.stringContaining("# 2")]);
});
