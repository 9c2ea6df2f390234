// Which bytes of an answer undici reads: all but the 100s, wherever the network has cut them.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InterimHeads } from "../../../src/shared/upstream/interim.ts";

const CONTINUE = "HTTP/1.1 100 Continue\r\nX-Why: because\r\n\r\n";
const EARLY = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nX: HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";

function pass(chunks: readonly string[]): { read: string; over: boolean } {
  const interim = new InterimHeads();
  interim.expect();
  let read = "";
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk, "latin1");
    read += (interim.over ? bytes : interim.pass(bytes)).toString("latin1");
  }
  return { read, over: interim.over };
}

/** Every way to cut it in two, and into single bytes. */
const cuts = (text: string): string[][] => [
  ...Array.from({ length: text.length + 1 }, (_, i) => [text.slice(0, i), text.slice(i)]),
  text.split(""),
];

describe("what is read", () => {
  test.each([
    ["a 100", CONTINUE + OK, OK],
    ["three of them", CONTINUE + CONTINUE + CONTINUE + OK, OK],
    ["a 100 without a phrase", `HTTP/1.1 100\r\n\r\n${OK}`, OK],
    ["a 100 of HTTP/1.0", `HTTP/1.0 100 Go\r\n\r\n${OK}`, OK],
    ["between others", `${EARLY}${CONTINUE}${EARLY}${CONTINUE}${OK}`, EARLY + EARLY + OK],
    ["none", OK, OK],
    ["a 101", `HTTP/1.1 101 S\r\n\r\n${CONTINUE}`, `HTTP/1.1 101 S\r\n\r\n${CONTINUE}`],
    ["a status of four digits", `HTTP/1.1 1000 No\r\n\r\n${OK}`, `HTTP/1.1 1000 No\r\n\r\n${OK}`],
    ["a bare LF", `HTTP/1.1 100 C\n\n${OK}`, `HTTP/1.1 100 C\n\n${OK}`],
    ["no HTTP", "SSH-2.0-x\r\n", "SSH-2.0-x\r\n"],
    ["more of them than anybody sends", CONTINUE.repeat(17) + OK, CONTINUE + OK],
    [
      "one that is too long",
      `HTTP/1.1 100 ${"x".repeat(17_000)}\r\n\r\n${OK}`,
      `HTTP/1.1 100 ${"x".repeat(17_000)}\r\n\r\n${OK}`,
    ],
  ])("%s", (_name, sent, read) => {
    for (const chunks of sent.length < 1_000 ? cuts(sent) : [[sent]]) {
      const passed = pass(chunks);
      // Not toEqual: what differs would be thousands of lines.
      expect({ same: passed.read === read, over: passed.over }).toEqual({ same: true, over: true });
    }
  });

  test("a head that may still become a 100 waits, and the next answer begins anew", () => {
    expect(pass(["HTTP/1.1 1"])).toEqual({ read: "", over: false });
    expect(pass(["HTTP/1.1 100 Continue\r\nX: y"])).toEqual({ read: "", over: false });
    expect(pass([EARLY])).toEqual({ read: EARLY, over: false });
  });

  test("cut anywhere, it is the same", () => {
    const heads = fc.array(fc.constantFrom(CONTINUE, EARLY, "HTTP/1.1 102 P\r\n\r\n", "HTTP/1.1 100\r\n\r\n"), {
      maxLength: 10,
    });
    fc.assert(
      fc.property(heads, fc.array(fc.nat(400), { maxLength: 20 }), (before, at) => {
        const sent = before.join("") + OK;
        const places = [0, ...at.filter((place) => place < sent.length).sort((a, b) => a - b), sent.length];
        const chunks = places.slice(1).map((place, i) => sent.slice(places[i], place));
        const read = before.filter((head) => !head.includes(" 100")).join("") + OK;
        expect(pass(chunks)).toEqual({ read, over: true });
      }),
    );
  });
});
