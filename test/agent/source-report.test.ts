// What log and metrics say about the source.
import { beforeEach, describe, expect, it } from "vitest";
import { Health } from "../../agent/health/healthz.ts";
import { LogOnce } from "../../agent/log-once.ts";
import { SourceReport } from "../../agent/source-report.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, node, service, slice } from "./source/objects.ts";

describe("source report", () => {
  let warnings: string[];
  let health: Health;
  let report: SourceReport;
  beforeEach(() => {
    [warnings, health] = [[], new Health()];
    report = new SourceReport({ node: "n1", health, logOnce: new LogOnce((text) => warnings.push(text)) });
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
