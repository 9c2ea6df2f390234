// What log and metrics say about the source.
import { beforeEach, describe, expect, it } from "vitest";
import { Health } from "../../agent/health/healthz.ts";
import { LogOnce } from "../../agent/log-once.ts";
import { SourceReport } from "../../agent/source-report.ts";
import { sourceReportSchema } from "../../src/shared/model/node-report.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, node, service, slice } from "./source/objects.ts";

describe("source report", () => {
  let warnings: string[];
  let health: Health;
  let report: SourceReport;
  let now = 0;
  beforeEach(() => {
    [warnings, health] = [[], new Health()];
    report = new SourceReport({
      ...{ node: "n1", health, kind: "kube" as const, now: () => now },
      logOnce: new LogOnce((text) => warnings.push(text)),
    });
  });

  it("counts what is observed, and says that it is synced", async () => {
    report.observed(observe(node("n1"), node("n2"), service("web"), slice("web", [endpoint("10.0.0.1")])));
    const text = await health.metrics.text();
    for (const line of [
      'postern_state{fact="synced"} 1',
      'postern_observed_objects{kind="Service"} 1',
      'postern_observed_objects{kind="EndpointSlice"} 1',
      'postern_observed_objects{kind="Node"} 2',
    ]) {
      expect(text).toContain(line);
    }
    expect(warnings).toEqual([]);
  });

  it("tells a probe its state, since when, and when something last changed", () => {
    const told = () => [report.report.state, report.report.since, report.report.lastEvent];
    expect(told()).toEqual(["reading", null, null]);
    now = 1_000;
    report.observed(observe(node("n1")));
    now = 2_000;
    report.observed(observe(node("n1"), service("web")));
    expect(told()).toEqual(["in-step", 1_000, 2_000]);
    now = 3_000;
    report.problems([{ where: "Kubernetes API, Services", message: "cannot be reached" }]);
    now = 4_000;
    report.problems(Array.from({ length: 12 }, (_, at) => ({ where: `f:${at}`, message: "m".repeat(300) })));
    expect(told()).toEqual(["troubled", 3_000, 2_000]);
    expect([report.report.problems.length, report.report.problemsLeftOut]).toEqual([10, 2]);
    expect(sourceReportSchema.safeParse(report.report).success).toBe(true);
    now = 5_000;
    report.problems([]);
    expect(told()).toEqual(["in-step", 5_000, 2_000]);
  });

  it("warns once where no Node has this agent's name", () => {
    for (const name of ["n2", "n2", "n1", "n2"]) report.observed(observe(node(name)));
    const unknown = expect.stringMatching(/^no Node is called n1: /) as string;
    expect(warnings).toEqual([unknown, unknown]);
  });

  it("warns of what is wrong with a Node", () => {
    report.observed(observe(node("n1", { annotations: { "postern.dev/weight": "many" } })));
    expect(warnings).toEqual([expect.stringContaining("postern.dev/weight")]);
  });

  it("logs and counts what cannot be read", async () => {
    const problems = [{ where: "a.yaml:1", message: "is no YAML" }];
    report.problems(problems);
    report.problems(problems);
    expect(warnings).toEqual(["a.yaml:1: is no YAML"]);
    expect(await health.metrics.text()).toContain('postern_problems{about="source"} 1');
  });
});
