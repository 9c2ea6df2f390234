import { expect, test } from "vitest";
import { judgeAnswer, missing, readinessOf } from "../../src/demo/readiness.ts";

const place = { url: "http://web.localhost:8888/" };

test.each<[what: string, connected: Parameters<typeof missing>[0]["connected"], places: [] | [typeof place], string[]]>(
  [
    ["nothing", new Set(["a", "b"]), [place], []],
    ["each node that is not connected", new Set(["c"]), [place], ["node a", "node b"]],
    ["a Service where none has a port", new Set(["a", "b"]), [], ["a Service of class postern.dev/edge"]],
    ["the API, and no node of which it did not tell", { problem: "down" }, [place], ["the edge's API (down)"]],
  ],
)("waits for %s", (_, connected, places, waiting) => {
  expect(missing({ nodes: ["b", "a"], connected, places })).toEqual(waiting);
});

test("waits for URLs that do not serve yet, and not for those that will not", () => {
  const answers = new Map([
    ["http://c/", {}],
    ["http://b/", judgeAnswer(503, "no-available-node", "no node\n")],
    ["http://a/", { problem: "connect ECONNREFUSED" }],
    ["http://d/", judgeAnswer(403, "source-refused", "not you")],
    ["http://e/", judgeAnswer(500, undefined, "the pod's own")],
  ]);
  expect(readinessOf(answers)).toEqual({
    waiting: ["http://a/ (connect ECONNREFUSED)", "http://b/ (503 no node)"],
    notes: ["http://d/ does not serve this machine: 403 not you"],
  });
});
