// What frames carry: every parser gives back what its encoder wrote, and Violation for everything else.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Violation } from "../../../src/shared/wire/frames.ts";
import {
  encodeClose,
  encodeJson,
  encodeProbe,
  encodeRequestHead,
  encodeReset,
  encodeResponseHead,
  encodeText,
  goAwaySchema,
  helloSchema,
  isCloseCode,
  parseClose,
  parseJson,
  parseOpen,
  parseReset,
  parseResponseHead,
  Reset,
  reportSchema,
} from "../../../src/shared/wire/messages.ts";

describe("round trips", () => {
  const headers = fc.array(fc.tuple(fc.string(), fc.string({ unit: "binary" }))).map((pairs) => pairs.flat());

  test("request heads", () => {
    const heads = fc.record({
      websocket: fc.boolean(),
      service: fc.string(),
      port: fc.integer({ min: 1, max: 65535 }),
      client: fc.string(),
      method: fc.constantFrom("GET", "POST", "M-SEARCH", "x!#$%&'*+.^_`|~0"),
      target: fc.webPath().map((path) => `/${path}`),
      headers,
      sightings: fc.integer({ min: 1, max: 2 }),
    });
    fc.assert(
      fc.property(heads, fc.boolean(), (untraced, isTraced) => {
        const head = isTraced ? { ...untraced, traced: true as const } : untraced;
        expect(parseOpen(encodeRequestHead(head))).toEqual(head);
      }),
    );
  });

  test("probes", () => {
    fc.assert(
      fc.property(fc.option(fc.string({ minLength: 1, maxLength: 507 }), { nil: undefined }), (service) => {
        const question = service === undefined ? {} : { service };
        expect(parseOpen(encodeProbe(question))).toEqual({ probe: question });
      }),
    );
  });

  test("response heads", () => {
    const by = fc.record({
      endpoint: fc.string({ maxLength: 259 }),
      sentAfterMs: fc.nat(),
      answeredAfterMs: fc.nat(),
    });
    const heads = fc.record({ status: fc.integer(), headers, by }, { requiredKeys: ["status", "headers"] });
    fc.assert(
      fc.property(heads, (head) => {
        expect(parseResponseHead(encodeResponseHead(head))).toEqual(head);
      }),
    );
  });

  test("RESET and CLOSE: the reason may be cut, never within a character, never past its limit", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", maxLength: 400 }),
        fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }).filter(isCloseCode)),
        (reason, code) => {
          const reset = encodeReset(Reset.BROKE, reason);
          const close = encodeClose(code, reason);
          expect(reset.length).toBeLessThanOrEqual(257);
          expect(close.length).toBeLessThanOrEqual(125);
          expect(parseReset(reset).code).toBe(Reset.BROKE);
          expect(parseClose(close).code).toBe(code);
          for (const [parsed, limit] of [
            [parseReset(reset).reason, 256],
            [parseClose(close).reason, 123],
          ] as const) {
            expect(reason.startsWith(parsed)).toBe(true);
            if (encodeText(reason).length <= limit) expect(parsed).toBe(reason);
          }
        },
      ),
    );
  });

  test("every RESET code keeps its meaning; one of a later version reads as broke", () => {
    for (const code of Object.values(Reset))
      expect(parseReset(encodeReset(code, "why"))).toEqual({ code, reason: "why" });
    for (const code of [0, 12, 255]) expect(parseReset(Uint8Array.of(code)).code).toBe(Reset.BROKE);
  });
});

describe("refused", () => {
  const list = (change: (fields: unknown[]) => void): Uint8Array => {
    const fields: unknown[] = [0, "default/web", 80, "", "GET", "/", []];
    change(fields);
    return encodeJson(fields);
  };
  const at = (index: number, value: unknown) => list((fields) => (fields[index] = value));
  const requests: readonly (readonly [string, Uint8Array])[] = [
    ["no JSON", encodeText("[0,")],
    ["not UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
    ["an object", encodeJson({ 0: 1 })],
    ["six fields", list((fields) => fields.pop())],
    ["kind 3", at(0, 3)],
    ["a probe of no text", encodeJson([2, 7])],
    ["a probe without a field", encodeJson([2])],
    ["a probe of a long name", encodeJson([2, "a".repeat(508)])],
    ["service a number", at(1, 3)],
    ["port a string", at(2, "80")],
    ["port 0", at(2, 0)],
    ["port 65536", at(2, 65536)],
    ["port with a fraction", at(2, 80.5)],
    ["port infinite", encodeText('[0,"a/b",1e999,"","GET","/",[]]')],
    ["client null", at(3, null)],
    ["method empty", at(4, "")],
    ["method that ends the line", at(4, "GET / HTTP/1.1\r\nx:")],
    ["target empty", at(5, "")],
    ["target absolute", at(5, "http://169.254.169.254/")],
    ["target with a space", at(5, "/a b")],
    ["target with a line end", at(5, "/a\r\nHost: b")],
    ["target with DEL", at(5, "/\u007f")],
    ["headers odd", at(6, ["host"])],
    ["headers nested", at(6, [["host", "a"]])],
    ["header value a number", at(6, ["content-length", 3])],
    ["deeply nested", encodeText("[".repeat(100_000))],
  ];
  test.each(requests)("request head: %s", (_name, bytes) => expect(() => parseOpen(bytes)).toThrow(Violation));

  const responses: readonly (readonly [string, unknown])[] = [
    ["a status alone", [200]],
    ["status a string", ["200", []]],
    ["status 200.5", [200.5, []]],
    ["headers null", [200, null]],
    ["headers odd", [200, ["a"]]],
    ["by nobody", [200, [], []]],
    ["by a long name", [200, [], ["a".repeat(260), 0, 0]]],
    ["by text for a time", [200, [], ["10.0.0.1:80", "0", 0]]],
  ];
  test.each(responses)("response head: %s", (_name, value) =>
    expect(() => parseResponseHead(encodeJson(value))).toThrow(Violation),
  );

  const closes: readonly (readonly [string, Uint8Array])[] = [
    ["no code", new Uint8Array(0)],
    ["half a code", Uint8Array.of(3)],
    // Passed on they would make a WebSocket's own close() throw.
    ...[1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map(
      (code) => [`code ${code}`, Uint8Array.of(code >>> 8, code)] as const,
    ),
    // Passed on it would make a WebSocket's own close() throw: U+FFFD is three bytes for one.
    ["reason not UTF-8", Uint8Array.of(3, 0xe8, 0xff)],
  ];
  test.each(closes)("CLOSE: %s", (_name, bytes) => expect(() => parseClose(bytes)).toThrow(Violation));

  test("RESET without a code, or whose reason is not UTF-8", () => {
    expect(() => parseReset(new Uint8Array(0))).toThrow(Violation);
    expect(() => parseReset(Uint8Array.of(1, 0xff))).toThrow(Violation);
  });

  const hello = { versions: [1], capabilities: [], software: "test" };
  const documents: readonly (readonly [string, () => unknown])[] = [
    ["HELLO without versions", () => parseJson("HELLO", helloSchema, encodeJson({ ...hello, versions: [] }))],
    [
      "HELLO with 17 versions",
      () => parseJson("HELLO", helloSchema, encodeJson({ ...hello, versions: Array(17).fill(1) })),
    ],
    ["HELLO with a long name", () => parseJson("HELLO", helloSchema, encodeJson({ ...hello, node: "n".repeat(254) }))],
    ["HELLO null", () => parseJson("HELLO", helloSchema, encodeText("null"))],
    ["GOAWAY without permanent", () => parseJson("GOAWAY", goAwaySchema, encodeJson({ reason: "" }))],
    [
      "REPORT with too many",
      () =>
        parseJson(
          "REPORT",
          reportSchema,
          encodeJson({ endpoints: Array.from({ length: 1001 }, () => ({ endpoint: "", reason: "" })) }),
        ),
    ],
  ];
  test.each(documents)("%s", (_name, parse) => expect(parse).toThrow(Violation));
});

test("any bytes: a value or Violation, nothing else", () => {
  const parsers = [
    parseOpen,
    parseResponseHead,
    parseReset,
    parseClose,
    (bytes: Uint8Array) => parseJson("HELLO", helloSchema, bytes),
  ];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.json().map(encodeText),
    fc.array(fc.jsonValue()).map(encodeJson),
  );
  fc.assert(
    fc.property(bytes, fc.constantFrom(...parsers), (input, parse) => {
      try {
        parse(input);
      } catch (error) {
        expect(error).toBeInstanceOf(Violation);
      }
    }),
    { numRuns: 500 },
  );
});
