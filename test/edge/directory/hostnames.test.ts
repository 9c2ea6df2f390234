// Which cluster may claim which name. The deployment: edge domain edge.test, admin host admin.edge.test:8443, clusters b, a-b, home.
import { describe, expect, it } from "vitest";
import { nameVerdict } from "../../../src/edge/directory/hostnames.ts";

const rules = { edgeDomain: "edge.test", adminHost: "admin.edge.test:8443", clusters: ["b", "a-b", "home"] };

describe("nameVerdict", () => {
  // [hostname, cluster, granted patterns, verdict]
  it.each<readonly [string, string, readonly string[], "allowed" | "reserved" | "not-allowed"]>([
    // Default names
    ["web-default-home.edge.test", "home", [], "allowed"],
    ["web-default-home-1a2b3c4d.edge.test", "home", [], "allowed"],
    ["web-default-home.edge.test", "b", [], "not-allowed"],
    ["web-default-home.edge.test", "b", ["*.edge.test"], "not-allowed"],
    ["web-default-home.edge.test", "b", ["web-default-home.edge.test"], "allowed"],
    ["home.edge.test", "home", [], "not-allowed"],
    ["-home.edge.test", "home", [], "not-allowed"],
    ["x.web-default-home.edge.test", "home", [], "not-allowed"],
    ["web-default-home.other.test", "home", [], "not-allowed"],
    // A name that ends in two clusters' names is the longer's, but for its hashed form
    ["shop-x-a-b.edge.test", "a-b", [], "allowed"],
    ["shop-x-a-b.edge.test", "b", [], "not-allowed"],
    ["shop-x-a-b-1a2b3c4d.edge.test", "b", [], "allowed"],
    ["shop-x-b.edge.test", "b", [], "allowed"],
    ["shop-x-b.edge.test", "a-b", [], "not-allowed"],
    // Grants
    ["shop.example.com", "home", ["shop.example.com"], "allowed"],
    ["shop.example.com", "home", ["*.example.com"], "allowed"],
    ["a.b.example.com", "home", ["*.example.com"], "allowed"],
    ["example.com", "home", ["*.example.com"], "not-allowed"],
    ["notexample.com", "home", ["*.example.com"], "not-allowed"],
    ["shop.example.com", "home", ["example.com"], "not-allowed"],
    ["www.edge.test", "home", ["www.edge.test"], "allowed"],
    ["www.edge.test", "home", ["*.edge.test"], "allowed"],
    ["www.edge.test", "home", [], "not-allowed"],
    // The edge's own
    ["edge.test", "home", ["edge.test", "*.test"], "reserved"],
    ["admin.edge.test", "home", ["admin.edge.test"], "reserved"],
    ["x.admin.edge.test", "home", ["*.edge.test"], "reserved"],
    ["api.edge.test", "home", ["*.edge.test"], "reserved"],
  ])("%s for %s, granted %j: %s", (hostname, cluster, patterns, verdict) => {
    const answer = nameVerdict(hostname, cluster, patterns, rules);
    expect(answer.allowed ? "allowed" : answer.reason).toBe(verdict);
  });

  it("says the same of another cluster's default name and of one that is nobody's", () => {
    const said = (hostname: string) => {
      const answer = nameVerdict(hostname, "home", [], rules);
      return answer.allowed ? answer : answer.message.replace(hostname, "NAME");
    };
    expect(said("web-default-b.edge.test")).toBe(said("shop.example.com"));
  });
});
