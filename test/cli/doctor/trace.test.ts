// One traced request: what is said of each hop, its own time, and which hop is the first that differs.
import { describe, expect, it } from "vitest";
import { examine } from "../../../cli/doctor/examine.ts";
import { reportText } from "../../../cli/doctor/print.ts";
import type { Traced } from "../../../cli/doctor/facts.ts";
import { traceReport } from "../../../cli/doctor/trace.ts";
import type { LogRecord } from "../../../src/shared/control/access-log.ts";
import { factsOf } from "./world.ts";

const where = { service: "default/web", hostname: "web.edge.test", port: 443, tls: true };
const client = { lookupMs: 3, connectMs: 10, handshakeMs: 20, answerMs: 100, address: "203.0.113.5", status: 200 };
const answered = {
  ...{ node: "n1", afterMs: 1, ms: 60, outcome: "200" },
  ...{ endpoint: "10.42.0.7:8080", sentAfterMs: 2, answeredAfterMs: 48 },
};
const record: LogRecord = {
  at: 0,
  ms: 62,
  client: "198.51.100.1",
  scheme: "https",
  hostname: "web.edge.test",
  port: 443,
  method: "GET",
  path: "/",
  status: 200,
  reason: null,
  service: "default/web",
  transport: "tunnel",
  tries: [answered],
  trace: "0af7651916cd43dd8448eb211c80319c",
  userAgent: "postern-doctor",
};
type Change = Omit<Partial<Traced>, "record"> & { readonly record?: LogRecord | null };
function traced({ record: changed = record, ...more }: Change = {}): Traced {
  return { where, id: record.trace ?? "", client, ...(changed === null ? {} : { record: changed }), ...more };
}

describe("each hop", () => {
  it("has its own time, and the times add up to the client's", () => {
    const { hops, url, differs } = traceReport(traced());
    expect(url).toBe("https://web.edge.test/");
    expect(hops).toEqual([
      { hop: "name", ms: 3, said: "web.edge.test is 203.0.113.5" },
      { hop: "connection", ms: 10, said: "TCP to 203.0.113.5 port 443" },
      { hop: "tls", ms: 20, said: "TLS handshake" },
      { hop: "way", ms: 38, said: "from here to the edge and back" },
      { hop: "edge", ms: 2, said: "answered 200" },
      { hop: "node", ms: 12, said: "n1 by tunnel: 200" },
      { hop: "endpoint", ms: 48, said: "10.42.0.7:8080 answered 200, 2 ms after the node had it" },
    ]);
    expect(hops.reduce((sum, { ms = 0 }) => sum + ms, 0)).toBe(3 + 10 + 20 + 100);
    expect(differs).toBeUndefined();
  });

  it("that was left for another is there as well", () => {
    const tries = [
      { node: "n2", afterMs: 0, ms: 5, outcome: "no-endpoints" },
      { ...answered, afterMs: 5 },
    ];
    const { hops, differs } = traceReport(traced({ record: { ...record, ms: 67, tries } }));
    expect(hops.slice(4).map(({ hop, ms, said }) => `${hop} ${ms} ${said}`)).toEqual([
      "edge 2 answered 200",
      "node 5 n2 by tunnel: no-endpoints, and another node was asked",
      "node 12 n1 by tunnel: 200",
      "endpoint 48 10.42.0.7:8080 answered 200, 2 ms after the node had it",
    ]);
    expect(differs).toBeUndefined();
  });
});

describe("the first hop that differs", () => {
  const refused = { ...record, status: 502, reason: "endpoint-broke" };
  it.each<[string, Change, string | undefined]>([
    [
      "the server's own error is nobody's",
      { record: { ...record, status: 500 }, client: { ...client, status: 500 } },
      undefined,
    ],
    [
      "a node",
      {
        record: { ...refused, tries: [{ node: "n1", afterMs: 0, ms: 9, outcome: "endpoint-broke" }] },
        client: { ...client, status: 502, reason: "endpoint-broke" },
      },
      "node n1: endpoint-broke, so the edge answered 502 endpoint-broke",
    ],
    [
      "the edge, which asked nobody",
      {
        record: { ...record, status: 403, reason: "source-refused", tries: [] },
        client: { ...client, status: 403, reason: "source-refused" },
      },
      "edge: it answered 403 source-refused, and asked no node",
    ],
    [
      "something on the way",
      { client: { ...client, status: 404 } },
      "way: the edge answered 200, and the client got 404",
    ],
    [
      "something on the way, that lost the answer",
      { client: { lookupMs: 1, failed: "socket hang up" } },
      "way: the edge answered 200, and the client got none: socket hang up",
    ],
    ["another server", { record: null }, "edge: the client got 200, and the edge has seen no such request"],
    ["unknown without a log", { record: null, unread: "HTTP 403" }, undefined],
    [
      "the way, where nobody answered",
      { record: null, client: { failed: "ECONNREFUSED" } },
      "way: the client got no answer: ECONNREFUSED",
    ],
  ])("%s", (_, more, differs) => {
    expect(traceReport(traced(more)).differs).toBe(differs);
  });
});

describe("the doctor", () => {
  const lost = factsOf({ facts: { isOutside: true, trace: traced({ client: { ...client, status: 404 } }) } });

  it("names it, and prints the hops", () => {
    const report = examine(lost);
    expect(report.findings.map(({ id, severity }) => `${severity} ${id}`)).toEqual(["error request-differs"]);
    const text = reportText(report, false);
    expect(text).toContain("GET https://web.edge.test/ in 133 ms, trace 0af7651916cd43dd8448eb211c80319c:\n");
    expect(text).toMatch(/^ {2}endpoint {6}48 ms {2}10\.42\.0\.7:8080 answered 200/m);
    expect(text).toContain("  first hop that differs: way: the edge answered 200, and the client got 404\n");
  });

  it("asks nothing of Kubernetes from outside, and claims nothing of it", () => {
    const { kube } = factsOf({ objects: [] });
    const { services, findings, hops } = examine({ ...factsOf(), kube, only: "default/web", isOutside: true });
    expect([services, findings]).toEqual([[], []]);
    expect(hops.filter(({ hop }) => ["service", "node", "pod"].includes(hop))).toEqual(
      ["service", "node", "pod"].map((hop) => ({
        hop,
        state: "unknown",
        said: "Kubernetes was not asked: --from outside",
      })),
    );
  });

  it("says that the edge serves no such Service", () => {
    const { kube } = factsOf({ objects: [] });
    const { findings } = examine({ ...factsOf(), kube, only: "default/wbe", isOutside: true });
    expect(findings.map(({ id }) => id)).toEqual(["service-missing"]);
  });
});
