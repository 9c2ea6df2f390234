// What a snapshot may cost: bombs of few bytes are given up before they have become anything, in few words, and what is large
// and honest is read in slices.
import { describe, expect, it } from "vitest";
import { readInSlices } from "../../../src/edge/cluster/snapshot-input.ts";
import { SNAPSHOT_MAX_BYTES, snapshotSchema } from "../../../src/shared/model/snapshot.ts";
import { endpoint, largest, list, service, snapshot } from "./large-snapshots.ts";

const filled = (piece: string): string => piece.repeat(Math.floor(SNAPSHOT_MAX_BYTES / piece.length));
const tcp = (count: number) => list(count, (at) => ({ name: `p${at}`, port: 1000 + at, protocol: "TCP" as const }));
const read = (text: string) => {
  const slices = readInSlices(text);
  for (let pauses = 0; ; pauses++) {
    const { done, value } = slices.next();
    if (done === true) return { answer: value, pauses };
  }
};

const empties = `{"endpoints":[${list(10_000, () => "{}").join()}]}`;

describe("a bomb", () => {
  // [what, text, what is said of it]
  it.each<readonly [string, string, string]>([
    [
      "200,000 empty endpoints",
      `{"version":1,"nodes":[],"services":[${list(20, () => empties).join()}]}`,
      "50000 endpoints",
    ],
    [
      "2.6 million of them",
      `{"version":1,"nodes":[],"services":[${list(265, () => empties).join()}]}`,
      "objects and lists",
    ],
    ["50,000 of them", `{"version":1,"nodes":[],"services":[${list(5, () => empties).join()}]}`, "must be a list"],
    ["a deep list", filled("["), "nested"],
    ["a deep object", filled('{"a":'), "nested"],
    ["a long list", `[${filled("1,")}1]`, "items"],
    ["lists of lists", `[${list(9_000, () => `[${list(200, () => 1).join()}]`).join()}]`, "values"],
    ["an object of many fields", `{${list(300, (at) => `"${at}":1`).join()}}`, "fields"],
    ["objects with a name each", `[${list(9_000, (at) => `{"a${at}":1}`).join()}]`, "names"],
    ["text alone", JSON.stringify("a".repeat(SNAPSHOT_MAX_BYTES - 2)), "snapshot:"],
    ["quotes alone", `"${filled('\\"')}"`, "snapshot:"],
    ["backslashes and no end", `"${filled("\\")}`, "not JSON"],
    [
      "5,000 nodes without a name",
      `{"version":1,"nodes":[${list(5_000, () => "{}").join()}],"services":[]}`,
      "nodes[0].name",
    ],
    ["5,001 nodes", snapshot(5_001, []), "nodes: may have 5000"],
    [
      "a Service with 10,001 host names",
      snapshot(0, [{ ...service(0), hostnames: list(9_999, () => 1) }]),
      "hostnames: may have 64",
    ],
    [
      "conditions about many ports",
      snapshot(0, [{ ...service(0), conditions: list(32, () => ({ ports: list(500, () => "x") })) }]),
      "and ",
    ],
    ["endpoints in the place of lists", snapshot(0, [{ ...service(0), ports: "x" }]), "ports: must be a list"],
    ["Services that are lists", snapshot(0, [[]]), "services[0]: must be an object"],
    // Each list within its limit, and their products not.
    [
      "10,000 Services on 5,000 nodes",
      snapshot(
        5_000,
        list(10_000, (at) => service(at)),
      ),
      "TCP port and node",
    ],
    [
      "many host names",
      snapshot(
        1,
        list(200, (at) => service(at, { hostnames: list(64, (n) => `h${n}.s${at}.test`) })),
      ),
      "host names",
    ],
    [
      "many ports and names",
      snapshot(
        1,
        list(10, (at) => service(at, { ports: tcp(128), hostnames: list(64, (n) => `h${n}.s${at}.test`) })),
      ),
      "port and host name",
    ],
    [
      "many ports and ranges",
      snapshot(
        1,
        list(10, (at) =>
          service(at, { ports: tcp(128), sourceRanges: list(512, (n) => `10.0.${n >> 8}.${n & 255}/32`) }),
        ),
      ),
      "source range",
    ],
    [
      "many ports and endpoints",
      snapshot(
        1,
        list(4, (at) => service(at, { ports: tcp(128), endpoints: list(10_000, endpoint) })),
      ),
      "port and endpoint",
    ],
  ])("is given up: %s", (_, text, detail) => {
    const before = process.cpuUsage();
    const { answer } = read(text);
    const { user } = process.cpuUsage(before);
    expect(answer).toMatchObject({ ok: false, message: expect.stringContaining(detail) });
    if (answer.ok) return;
    expect(answer.message.length).toBeLessThan(1_000);
    // Microseconds of this process, whatever else the machine does; the first of them took 6 s, the second a minute.
    expect(user).toBeLessThan(2_000_000);
  });
});

describe("the largest that is allowed", () => {
  it.each(largest)("%s: is read as the schema reads it, with pauses", (_, text) => {
    expect(text.length).toBeLessThan(SNAPSHOT_MAX_BYTES);
    const { answer, pauses } = read(text);
    if (!answer.ok) throw new Error(answer.message);
    expect(answer.text).toBe(JSON.stringify(snapshotSchema.parse(JSON.parse(text))));
    expect(pauses).toBeGreaterThan(10);
  });

  it("drops what it does not know", () => {
    const { answer } = read(
      JSON.stringify({ version: 1, nodes: [], services: [{ ...service(0), newer: [1] }], more: {} }),
    );
    expect(answer).toMatchObject({ ok: true, snapshot: { version: 1, nodes: [], services: [service(0)] } });
  });
});
