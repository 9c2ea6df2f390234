// Annotations: what is read, and what each bad value is answered with.
import { describe, expect, it } from "vitest";
import { NOBODY, nodeSettings, serviceSettings } from "../../../agent/plan/annotations.ts";
import { node, service } from "../source/objects.ts";
import { observe } from "./observe.ts";

const settings = (annotations: Record<string, string>, spec: object = {}) => {
  const [observed] = observe(service("web", spec, { annotations })).services;
  if (observed === undefined) throw new Error("no Service");
  return serviceSettings(observed);
};
const ranges = "service.beta.kubernetes.io/load-balancer-source-ranges";

describe("Service annotations", () => {
  it("are all optional", () => {
    expect(settings({})).toEqual({
      hostnames: [],
      algorithm: "least-request",
      endpointAlgorithm: "random",
      transport: "tunnel",
      offeredPorts: [
        { port: 80, target: 80 },
        { port: 443, target: 443 },
      ],
      sourceRanges: [],
      badValues: [],
    });
  });

  it.each<[string, Record<string, string>, object, object]>([
    [
      "hostnames, as people write them",
      { "postern.dev/hostname": "Shop.example.com., www.example.com shop.example.com" },
      {},
      { hostnames: ["shop.example.com", "www.example.com"] },
    ],
    ["node order", { "postern.dev/algorithm": " weighted " }, {}, { algorithm: "weighted" }],
    ["endpoint order", { "postern.dev/endpoint-algorithm": "maglev" }, {}, { endpointAlgorithm: "maglev" }],
    ["transport", { "postern.dev/transport": "direct" }, {}, { transport: "direct" }],
    [
      "ports",
      { "postern.dev/ports": "8080:5000, 80" },
      {},
      {
        offeredPorts: [
          { port: 80, target: 80 },
          { port: 8080, target: 5000 },
        ],
      },
    ],
    ["source ranges", { [ranges]: "10.0.0.0/8, 2001:db8::/32" }, {}, { sourceRanges: ["10.0.0.0/8", "2001:db8::/32"] }],
    [
      "the field beats the annotation",
      { [ranges]: "10.0.0.0/8" },
      { loadBalancerSourceRanges: ["192.0.2.0/24"] },
      { sourceRanges: ["192.0.2.0/24"] },
    ],
  ])("%s", (_what, annotations, spec, expected) => {
    expect(settings(annotations, spec)).toMatchObject({ ...expected, badValues: [] });
  });

  it.each<[string, Record<string, string>, object, string]>([
    [
      "a wildcard",
      { "postern.dev/hostname": "*.example.com, good.example.com" },
      { hostnames: ["good.example.com"] },
      'annotation postern.dev/hostname: "*.example.com" is not usable: write DNS names such as shop.example.com, separated by commas; it is left out',
    ],
    [
      "an order that the edge does not know",
      { "postern.dev/algorithm": "fastest" },
      { algorithm: "least-request" },
      'annotation postern.dev/algorithm: "fastest" is not usable: write one of least-request, round-robin, source-hash, weighted; least-request is used',
    ],
    [
      "an order that no node knows",
      { "postern.dev/endpoint-algorithm": "best" },
      { endpointAlgorithm: "random" },
      'annotation postern.dev/endpoint-algorithm: "best" is not usable: write one of random, rr, wrr, lc, wlc, dh, sh, sed, nq, maglev; random is used',
    ],
    [
      "a transport that there is not",
      { "postern.dev/transport": "vpc" },
      { transport: "tunnel" },
      'annotation postern.dev/transport: "vpc" is not usable: write one of tunnel, direct; tunnel is used',
    ],
    [
      "a port out of range",
      { "postern.dev/ports": "70000, 81" },
      { offeredPorts: [{ port: 81, target: 81 }] },
      'annotation postern.dev/ports: "70000" is not usable: write up to 128 different ports from 1 to 65535 such as 80, 8080:5000, separated by commas; it is left out',
    ],
    [
      "an address without a length",
      { [ranges]: "10.0.0.1, 192.0.2.0/24" },
      { sourceRanges: ["192.0.2.0/24"] },
      `annotation ${ranges}: "10.0.0.1" is not usable: write ranges such as 203.0.113.0/24; it lets nobody in`,
    ],
    [
      "only bad ranges: nobody gets in, rather than everybody",
      { [ranges]: "office" },
      { sourceRanges: [NOBODY] },
      `annotation ${ranges}: "office" is not usable: write ranges such as 203.0.113.0/24; it lets nobody in`,
    ],
  ])("%s", (_what, annotations, expected, message) => {
    expect(settings(annotations)).toMatchObject({ ...expected, badValues: [message] });
  });

  it("takes as many ranges as the edge does, and says it once of the rest", () => {
    const all = Array.from({ length: 600 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
    const { sourceRanges, badValues } = settings({ [ranges]: all.join() });
    expect(sourceRanges).toEqual(all.slice(0, 512));
    expect(badValues).toEqual([
      `annotation ${ranges}: "10.2.0.0/24" is not usable: the edge takes 512 ranges at most; it lets nobody in, nor do those after it`,
    ]);
  });

  it("cuts a value that is long", () => {
    expect(settings({ "postern.dev/algorithm": "x".repeat(10_000) }).badValues[0]?.length).toBeLessThan(300);
  });
});

describe("Node annotations", () => {
  const of = (annotations: Record<string, string>) => {
    const [observed] = observe(node("n1", { annotations })).nodes;
    if (observed === undefined) throw new Error("no Node");
    return nodeSettings(observed);
  };

  it.each<[string, Record<string, string>, object]>([
    ["nothing", {}, {}],
    ["a DNS name", { "postern.dev/direct-address": "n1.example.com" }, { directAddress: "n1.example.com" }],
    ["an address", { "postern.dev/direct-address": "203.0.113.7" }, { directAddress: "203.0.113.7" }],
    ["a weight", { "postern.dev/weight": "0" }, { weight: 0 }],
  ])("%s", (_what, annotations, expected) => {
    expect(of(annotations)).toEqual({ ...expected, badValues: [] });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      "a URL",
      { "postern.dev/direct-address": "http://n1" },
      /"http:\/\/n1" is not usable: write a DNS name or an IP address, without scheme and port/,
    ],
    ["a port", { "postern.dev/direct-address": "n1.example.com:80" }, /without scheme and port/],
    [
      "a weight that is none",
      { "postern.dev/weight": "heavy" },
      /"heavy" is not usable: write a whole number from 0 to 65535/,
    ],
    ["a weight too large", { "postern.dev/weight": "65536" }, /whole number from 0 to 65535/],
  ])("%s", (_what, annotations, message) => {
    expect(of(annotations)).toEqual({ badValues: [expect.stringMatching(message)] });
  });
});
