// Who is answered, how often, and that an answer fits whatever is in it.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFitting, type Facts, Prober } from "../../../agent/probe/prober.ts";
import { type NodeReport, nodeReportSchema, REPORT_MAX } from "../../../src/shared/model/node-report.ts";
import { PROBE_MAX } from "../../../src/shared/wire/limits.ts";

const facts: Facts = {
  ...{ software: "postern-agent 0.1.0", node: "n1", uptimeMs: 1, proxy: "none", planApplied: true },
  source: { kind: "kube", state: "in-step", since: null, lastEvent: null, problems: [], problemsLeftOut: 0 },
  kernel: { state: "off", lastSync: null, checkedAt: null, faults: [], faultsLeftOut: 0 },
  ...{ conntrack: null, packetFilters: null, brokenEndpoints: [], brokenEndpointsLeftOut: 0 },
};

function stage() {
  const work: { question: unknown; end: PromiseWithResolvers<Facts> }[] = [];
  const clock = { now: 1_000 };
  const prober = new Prober({
    now: () => clock.now,
    collect: (question) => {
      const end = Promise.withResolvers<Facts>();
      work.push({ question, end });
      return end.promise;
    },
  });
  return { work, clock, prober };
}
const read = async (answer: Promise<Uint8Array> | undefined): Promise<NodeReport> =>
  nodeReportSchema.parse(JSON.parse(new TextDecoder().decode(await answer)));

test("one question at a time; who asks the same shares the work, each with times of his own", async () => {
  const { work, clock, prober } = stage();
  const first = prober.answer({ service: "default/web" });
  clock.now = 1_300;
  const same = prober.answer({ service: "default/web" });
  expect([prober.answer({}), prober.answer({ service: "default/api" })]).toEqual([undefined, undefined]);
  clock.now = 1_500;
  work[0]?.end.resolve(facts);
  expect(await read(first)).toMatchObject({ receivedAt: 1_000, tookMs: 500 });
  expect(await read(same)).toMatchObject({ receivedAt: 1_300, tookMs: 200 });
  expect(work.map(({ question }) => question)).toEqual([{ service: "default/web" }]);
});

test("what was answered within the last second is given again; then it is looked at anew", async () => {
  const { work, clock, prober } = stage();
  const first = prober.answer({});
  work[0]?.end.resolve(facts);
  await first;
  clock.now += 999;
  expect(await read(prober.answer({}))).toMatchObject({ receivedAt: 1_999, tookMs: 0 });
  expect(work).toHaveLength(1);
  clock.now += 1;
  void prober.answer({});
  expect(work).toHaveLength(2);
});

test("whoever asks on and on is refused, and answered again later", async () => {
  const { work, clock, prober } = stage();
  const ask = async (service: string): Promise<boolean> => {
    const answer = prober.answer({ service });
    work.at(-1)?.end.resolve(facts);
    await answer;
    return answer !== undefined;
  };
  const answered = [];
  for (let at = 0; at < 6; at++) answered.push(await ask(`default/web-${at}`));
  expect(answered).toEqual([true, true, true, true, false, false]);
  clock.now += 500;
  expect([await ask("default/a"), await ask("default/b")]).toEqual([true, false]);
});

test("work that fails fails for who asked, and the next question is answered", async () => {
  const { work, prober } = stage();
  const answer = prober.answer({});
  work[0]?.end.reject(new Error("a fault"));
  await expect(answer).rejects.toThrow("a fault");
  const next = prober.answer({ service: "default/web" });
  work[1]?.end.resolve(facts);
  expect(await read(next)).toMatchObject({ node: "n1" });
});

test("whatever is in a report, it fits, is a report, and counts what was left out", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: REPORT_MAX.text }),
    fc.constant("\u{10ffff}".repeat(128)),
  );
  const cut = text.map((each) => each.slice(0, REPORT_MAX.text));
  const fault = fc.record({ service: cut, reason: cut, message: cut });
  const reports = fc
    .record({
      faults: fc.array(fault, { maxLength: REPORT_MAX.faults, size: "max" }),
      problems: fc.array(fc.record({ where: cut, message: cut }), { maxLength: REPORT_MAX.problems, size: "max" }),
      brokenEndpoints: fc.array(fc.record({ endpoint: cut, reason: cut }), {
        maxLength: REPORT_MAX.faults,
        size: "max",
      }),
    })
    .map(
      ({ faults, problems, brokenEndpoints }): NodeReport => ({
        ...{ ...facts, brokenEndpoints, receivedAt: 0, tookMs: 0 },
        kernel: { ...facts.kernel, faults },
        source: { ...facts.source, problems },
      }),
    );
  fc.assert(
    fc.property(reports, (report) => {
      const bytes = encodeFitting(report);
      expect(bytes.length).toBeLessThanOrEqual(PROBE_MAX);
      const said = nodeReportSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
      expect(said.kernel.faults.length + said.kernel.faultsLeftOut).toBe(report.kernel.faults.length);
      expect(said.source.problems.length + said.source.problemsLeftOut).toBe(report.source.problems.length);
      expect(said.brokenEndpoints.length + said.brokenEndpointsLeftOut).toBe(report.brokenEndpoints.length);
    }),
  );
});
