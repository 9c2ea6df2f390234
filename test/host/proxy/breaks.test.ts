// What follows a broken exchange, as a table; and who is told what of bytes that are no request.
import { expect, test } from "vitest";
import { type Broken, judgeBreak } from "../../../src/host/proxy/breaks.ts";
import { EdgeProcess } from "../../../src/host/proxy/edge-process.ts";
import { refusalFor } from "../../../src/host/proxy/unread.ts";

const error = (code?: string): Error => Object.assign(new Error("it broke"), code === undefined ? {} : { code });
const broken: Broken = { begun: true, patient: true, repeatable: true };

test.each<[string, string | undefined, Partial<Broken>, object]>([
  ["no connection", "ECONNREFUSED", { begun: false, repeatable: false }, { next: "send" }],
  ["a connection reset before a byte was sent", "ECONNRESET", { begun: false }, { next: "send" }],
  [
    "no connection, patience over",
    "ECONNREFUSED",
    { begun: false, patient: false },
    { next: "fail", reason: "edge-away" },
  ],
  ["we are closing", "UND_ERR_DESTROYED", { begun: false }, { next: "fail", reason: "edge-away" }],
  ["closed without an answer", "UND_ERR_SOCKET", {}, { next: "repeat-if-ended", reason: "edge-away" }],
  ["reset without an answer", "ECONNRESET", { patient: false }, { next: "repeat-if-ended", reason: "edge-away" }],
  ["a POST", "ECONNRESET", { repeatable: false }, { next: "fail", reason: "edge-away" }],
  ["an answer that is no HTTP", "HPE_INVALID_CONSTANT", {}, { next: "fail", reason: "bad-gateway-answer" }],
  ["too large a head", "UND_ERR_HEADERS_OVERFLOW", {}, { next: "fail", reason: "bad-gateway-answer" }],
  ["what undici refuses", "UND_ERR_INVALID_ARG", { begun: false }, { next: "fail", reason: "bad-request" }],
  ["a fault of ours", undefined, {}, { next: "fail", reason: "bad-gateway-answer" }],
])("%s", (_, code, state, verdict) => {
  expect(judgeBreak(error(code), { ...broken, ...state })).toMatchObject(verdict);
});

test("whether the edge's process has ended is its owner's word, for which a moment is waited", async () => {
  const edge = new EdgeProcess(10_000, 50);
  expect(edge.down).toBeUndefined();
  expect(await edge.endedSince(0)).toBe(false);
  const word = edge.endedSince(0);
  const up = Promise.withResolvers<void>();
  edge.ended(up.promise);
  expect(await word).toBe(true);
  expect(await edge.endedSince(0)).toBe(true);
  const { down } = edge;
  up.resolve();
  await down;
  expect(edge.down).toBeUndefined();
  expect(await edge.endedSince(1)).toBe(false);
});

test.each<[string | undefined, boolean, string | undefined]>([
  ["HPE_HEADER_OVERFLOW", false, "headers-too-large"],
  ["ERR_HTTP_REQUEST_TIMEOUT", false, "request-timeout"],
  ["ERR_HTTP_REQUEST_TIMEOUT", true, undefined],
  ["HPE_INVALID_VERSION", false, "unsupported-version"],
  ["HPE_INVALID_METHOD", false, "bad-request"],
  ["ECONNRESET", false, undefined],
  [undefined, false, undefined],
])("%s (silent: %s) is %s", (code, silent, reason) => {
  expect(refusalFor(error(code), silent)?.[0]).toBe(reason);
});
