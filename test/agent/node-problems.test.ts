// What the log, the metrics and the edge hear of what this node cannot serve.
import { beforeEach, describe, expect, it } from "vitest";
import { Metrics } from "../../agent/health/metrics.ts";
import { LogOnce } from "../../agent/log-once.ts";
import { NodeProblems } from "../../agent/node-problems.ts";
import type { Report } from "../../src/shared/wire/messages.ts";

const inUse = { service: "default/web", reason: "port-in-use", message: "port 80 is in use" };
const broken = { endpoint: "default/web 10.0.0.1:8080", reason: "is unavailable" };

describe("node problems", () => {
  let reports: Report["endpoints"][];
  let warnings: string[];
  let listeners: Set<() => void>;
  let unavailable: (typeof broken)[];
  let metrics: Metrics;
  let problems: NodeProblems;

  beforeEach(() => {
    [reports, warnings, listeners, unavailable] = [[], [], new Set(), []];
    metrics = new Metrics();
    problems = new NodeProblems({
      backends: {
        problems: () => unavailable,
        onProblems: (listener) => {
          listeners.add(listener);
          return { [Symbol.dispose]: () => void listeners.delete(listener) };
        },
      },
      at: "192.0.2.1",
      logOnce: new LogOnce((text) => warnings.push(text)),
      metrics,
      report: (endpoints) => reports.push(endpoints),
    });
  });

  it("reports all kinds together, each time that one of them changes", () => {
    unavailable = [broken];
    for (const listener of listeners) listener();
    problems.setFailures([inUse]);
    problems.setLeftOut(new Map([["default/nas", "leads to this machine"]]));
    const unopened = { endpoint: "default/web 192.0.2.1", reason: "port 80 is in use" };
    const leftOut = { endpoint: "default/nas", reason: "leads to this machine" };
    expect(reports).toEqual([[broken], [broken, unopened], [broken, unopened, leftOut]]);
    problems.setFailures([]);
    expect(reports.at(-1)).toEqual([broken, leftOut]);
  });

  it("reports addresses that are left out only when they change", () => {
    const leftOut = () => new Map([["default/nas", "leads to this machine"]]);
    problems.setLeftOut(new Map());
    expect(reports).toEqual([]);
    problems.setLeftOut(leftOut());
    problems.setLeftOut(leftOut());
    expect(reports).toHaveLength(1);
  });

  it("cuts reasons to what the edge takes", () => {
    problems.setFailures([{ ...inUse, message: "x".repeat(300) }]);
    expect(reports[0]?.[0]?.reason).toBe("x".repeat(256));
  });

  it("logs each problem once, and counts them", async () => {
    unavailable = [broken];
    problems.setFailures([inUse]);
    problems.setFailures([inUse]);
    expect(warnings).toEqual([
      "Service default/web: port 80 is in use",
      "Service default/web 10.0.0.1:8080 is unavailable",
    ]);
    const text = await metrics.text();
    expect(text).toContain('postern_problems{about="endpoints"} 1');
    expect(text).toContain('postern_problems{about="executor"} 1');
  });

  it("hears nothing of endpoints once stopped", () => {
    problems.stop();
    expect(listeners.size).toBe(0);
  });
});
