// Which door leads where, whom the edge believes, and what strangers can do: ports, the admin host, workerd's own port, headers
// that lie, proxies that are trusted, source ranges; made-up tokens, slow heads, snapshots that burst, Services that lead back.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { isAlive } from "../e2e/emulation.ts";
import { largest } from "../edge/cluster/large-snapshots.ts";
import { freePort } from "../../src/host/process/free-port.ts";
import { Backend, type Seen } from "./backend.ts";
import { type Door, type EdgeProgram, fdsOf, type Service, startEdge, statusAt } from "./programs.ts";
import { type Answer, valuesOf, Wire } from "./wire.ts";
import { type Report, stallMs, type Witness, witness } from "./witness.ts";

const ADDRESS = "127.50.4.1";
const BACKENDS = ["127.52.4.1"];
const PROXY = "127.0.0.9";
const STRANGER = "127.0.0.8";
/** A head may take 60 s; it is looked at now and then. */
const HEAD_MS = 95_000;

let backend: Backend;
let bystander: Witness;
let undisturbed: Report;
let edge: EdgeProgram;
let servers: number[];
/** Connections that never finish a head, by what they do, and when each was ended. */
let slow: Map<string, Promise<number>>;
let closeSlow: () => void;

beforeAll(async () => {
  backend = new Backend();
  await backend.listen(BACKENDS);
  bystander = await witness("127.52.4.3");
  const endpoints = { addresses: BACKENDS, port: backend.port };
  const loop = await freePort(ADDRESS);
  const ranged = (name: string, ranges: readonly string[]): Service => ({
    name,
    transport: "tunnel",
    endpoints,
    spec: { loadBalancerSourceRanges: ranges },
  });
  const services: Service[] = [
    { name: "one", transport: "tunnel", endpoints },
    { name: "two", transport: "tunnel", endpoints },
    { name: "dir", transport: "direct", endpoints },
    { name: "other", transport: "tunnel", endpoints: { addresses: ["127.52.4.3"], port: bystander.port } },
    // Leads back to its own listener. It is not asked before its test.
    { ...ranged("loop", ["127.0.0.0/8"]), endpoints: { addresses: [ADDRESS], port: loop }, port: loop },
    ranged("six", ["10.0.0.0/8", "::/0"]),
    ranged("four", ["0.0.0.0/0", "2001:db8::/32"]),
    ranged("near", [`${STRANGER}/32`]),
    ranged("far", ["203.0.113.0/24"]),
  ];
  const args = ["--address", "::1", "--trusted-proxy", `${PROXY}/32`];
  edge = await startEdge(services, { address: ADDRESS, nodes: 1, args });
  servers = edge.servers();
  bystander.watch(edge.door("other"));
  await delay(2_000);
  undisturbed = await bystander.report();
  // They take a minute: in the background of all the rest.
  ({ slow, close: closeSlow } = await slowly({ listener: edge.door("one"), admin: edge.api.place }));
});
afterAll(async () => {
  closeSlow?.();
  bystander?.stop();
  await edge?.stop();
  backend?.close();
});

async function slowly(doors: Record<string, Door>): Promise<{ slow: Map<string, Promise<number>>; close: () => void }> {
  const heads: Record<string, string> = {
    nothing: "",
    "half a request line": "GET /slow",
    "half a head": "GET /slow HTTP/1.1\r\nHost: x\r\nX-A: ",
    "a drip": "GET /slow HTTP/1.1\r\n",
  };
  const wires: Wire[] = [];
  const timers: NodeJS.Timeout[] = [];
  const found = new Map<string, Promise<number>>();
  for (const [at, door] of Object.entries(doors))
    for (const [what, bytes] of Object.entries(heads)) {
      const wire = await Wire.connect(door);
      wires.push(wire);
      wire.send(bytes);
      if (what === "a drip") timers.push(setInterval(() => wire.end === "open" && wire.send("X-D: 1\r\n"), 5_000));
      const begun = performance.now();
      found.set(
        `${what} at the ${at}`,
        wire.ended(HEAD_MS).then((end) => (end === "open" ? Number.POSITIVE_INFINITY : performance.now() - begun)),
      );
    }
  return {
    slow: found,
    close() {
      for (const timer of timers) clearInterval(timer);
      for (const wire of wires) wire[Symbol.dispose]();
    },
  };
}

let asked = 0;
/** One request with these header lines; what came, and what the server saw. */
async function ask(
  to: Door,
  lines: readonly string[] = [],
  { path = "/d", host = to.authority, from }: { path?: string; host?: string; from?: string } = {},
): Promise<{ answer: Answer | undefined; seen: Seen | undefined }> {
  const id = `d${++asked}`;
  using wire = await Wire.connect(from === undefined ? to : { ...to, localAddress: from });
  wire.send(
    `GET ${path} HTTP/1.1\r\n${[`Host: ${host}`, `X-Row: ${id}`, "Connection: close", ...lines].join("\r\n")}\r\n\r\n`,
    "GET",
  );
  const answer = await wire.answer();
  return { answer, seen: backend.seen(id)[0] };
}
const reason = (answer: Answer | undefined) => valuesOf(answer?.fields ?? [], "x-postern-reason")[0];

describe("a door", () => {
  test.for(["one", "two", "dir"])("of %s serves its Service", async (name) => {
    const { answer, seen } = await ask(edge.door(name));
    expect([answer?.status, seen?.target]).toEqual([200, "/d"]);
  });

  test.for([
    ["one", "two"],
    ["two", "one"],
    ["dir", "one"],
    ["one", "dir"],
  ])("of %s does not serve %s (F16)", async ([name = "", host = ""]) => {
    const other = edge.door(host);
    for (const authority of [other.authority, other.authority.replace(/:\d+$/, "")]) {
      const { answer, seen } = await ask(edge.door(name), [], { host: authority });
      expect([authority, answer?.status, reason(answer), seen]).toEqual([
        authority,
        404,
        "no-such-listener",
        undefined,
      ]);
    }
  });

  test.for(["/openapi.json", "/healthz", "/api/v1/clusters", `/install/psi_home_${"A".repeat(43)}.yaml`])(
    "of a Service is none to the admin host's %s (S19)",
    async (path) => {
      for (const host of [edge.api.place.authority, ADDRESS]) {
        const { answer } = await ask(edge.door("one"), [`Authorization: Bearer ${edge.api.token}`], { path, host });
        expect([host, answer?.status, reason(answer)]).toEqual([host, 404, "no-such-listener"]);
      }
    },
  );

  test("of the admin host serves no Service (S19)", async () => {
    for (const name of ["one", "dir"]) {
      const { answer, seen } = await ask(edge.api.place, [], { host: edge.door(name).authority });
      expect([name, seen, answer !== undefined && answer.status >= 400 && answer.status < 500]).toEqual([
        name,
        undefined,
        true,
      ]);
    }
  });

  test("of workerd itself is open to its listeners alone (S19)", async () => {
    const listen = /address = "(127\.0\.0\.1):(\d+)"/.exec(readFileSync(join(edge.state, "workerd.capnp"), "utf8"));
    if (listen === null) return;
    const inner = { host: listen[1] ?? "", port: Number(listen[2]) };
    const one = edge.door("one");
    for (const lines of [
      [],
      ["X-Postern-Forwarder: "],
      ["X-Postern-Forwarder: guess", "X-Postern-Client: 1.2.3.4", `X-Postern-Port: ${one.port}`],
    ])
      for (const [authority, path] of [
        [one.authority, "/d"],
        [edge.api.place.authority, "/api/v1/clusters"],
        [edge.api.place.authority, "/healthz"],
      ] as const) {
        const { answer, seen } = await ask(
          { ...inner, authority },
          [...lines, `Authorization: Bearer ${edge.api.token}`],
          { path },
        );
        expect([authority, path, lines, answer?.status, seen]).toEqual([authority, path, lines, 403, undefined]);
      }
  });
});

const LIES = [
  ...[
    "X-Forwarded-For: 6.6.6.6",
    "X_Forwarded_For: 6.6.6.6",
    "X-Forwarded_For: 6.6.6.6",
    "X-Real-IP: 6.6.6.6",
    "X_Real_IP: 6.6.6.6",
  ],
  ...[
    "X-Forwarded-Proto: https",
    "X_Forwarded_Proto: https",
    "X-Forwarded-Host: evil.example",
    "X_Forwarded_Host: evil.example",
  ],
  ...["X-Forwarded-Port: 66", "X-Forwarded-Server: evil.example", "X-Forwarded-User: root", "X_Forwarded_User: root"],
  ...[
    "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
    "Proxy: http://6.6.6.6/",
    "CF-Connecting-IP: 6.6.6.6",
    "CF-Ray: 6666",
  ],
  ...[
    "CF-IPCountry: ZZ",
    'CF-Visitor: {"scheme":"https"}',
    "CF-Worker: evil.example",
    "X-Postern-Client: 6.6.6.6",
    "X-Postern-Port: 80",
  ],
  ...[
    "X-Postern-Trusted: 1",
    'X-Postern-Raw: ["x-forwarded-for","6.6.6.6"]',
    "X-Postern-Target: /evil",
    "X-Postern-Forwarder: x",
    "X_Postern_Client: 6.6.6.6",
  ],
];

describe("whom the edge believes", () => {
  test.for(["one", "dir"])("by %s: no client (S16)", async (name) => {
    const door = edge.door(name);
    const { answer, seen } = await ask(door, LIES, { from: STRANGER });
    expect([answer?.status, seen?.target]).toEqual([200, "/d"]);
    const fields = seen?.fields ?? [];
    // As CGI and WSGI see them: "-" is "_".
    const cgi = (wanted: string) =>
      fields
        .filter(([each]) => each.toLowerCase().replaceAll("-", "_") === wanted.replaceAll("-", "_"))
        .map(([, text]) => text);
    expect(cgi("x-forwarded-for")).toEqual([STRANGER]);
    expect(cgi("x-forwarded-proto")).toEqual(["http"]);
    expect(cgi("x-forwarded-host")).toEqual([door.authority]);
    for (const wanted of ["proxy", "x-forwarded-user", "x-forwarded-server"])
      expect([wanted, cgi(wanted)]).toEqual([wanted, []]);
    expect(fields.filter(([each]) => /^(cf|x[-_]postern)[-_]/i.test(each))).toEqual([]);
    expect(
      fields.filter(([each, text]) => each.toLowerCase() !== "x-row" && /6\.6\.6\.6|6666|evil|root/.test(text)),
    ).toEqual([]);
  });

  test("the proxy that was named, and nobody else (F19)", async () => {
    const told = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-User: alice"];
    for (const name of ["one", "dir"]) {
      const { seen } = await ask(edge.door(name), told, { from: PROXY });
      const first = (wanted: string) =>
        valuesOf(seen?.fields ?? [], wanted)
          .join(", ")
          .split(/, ?/)[0];
      expect(["x-forwarded-for", "x-forwarded-proto", "x-forwarded-user"].map(first), name).toEqual([
        "203.0.113.9",
        "https",
        "alice",
      ]);
      const stranger = await ask(edge.door(name), told, { from: STRANGER });
      expect([name, valuesOf(stranger.seen?.fields ?? [], "x-forwarded-for")]).toEqual([name, [STRANGER]]);
    }
  });

  test("of a trusted proxy's list the last that is no proxy counts (F19)", async () => {
    const status = async (list: string, from: string) =>
      (await ask(edge.door("far"), [`X-Forwarded-For: ${list}`], { from })).answer?.status;
    expect(await status("203.0.113.9", PROXY)).toBe(200);
    expect(await status("203.0.113.9", STRANGER)).toBe(403);
    // The client itself sent the first.
    expect(await status("203.0.113.9, 198.51.100.1", PROXY)).toBe(403);
    expect(await status("198.51.100.1, 203.0.113.9", PROXY)).toBe(200);
    expect(await status(`203.0.113.9, ${PROXY}`, PROXY)).toBe(200);
    expect(await status("nonsense", PROXY)).not.toBe(200);
  });
});

describe("source ranges", () => {
  const six = (name: string): Door => ({ ...edge.door(name), host: "::1" });
  test.for([
    ["six", "IPv4", 403],
    ["six", "IPv6", 200],
    ["four", "IPv4", 200],
    ["four", "IPv6", 403],
  ] as const)("of one family say nothing of the other (F15): %s by %s is %i", async ([name, family, expected]) => {
    const { answer } = await ask(family === "IPv4" ? edge.door(name) : six(name));
    expect(answer?.status).toBe(expected);
  });

  test("hold by the client's own address", async () => {
    expect((await ask(edge.door("near"), [], { from: STRANGER })).answer?.status).toBe(200);
    expect((await ask(edge.door("near"))).answer?.status).toBe(403);
    expect((await ask(edge.door("near"), [`X-Forwarded-For: ${STRANGER}`])).answer?.status).toBe(403);
  });
});

describe("strangers", () => {
  const files = (): string[] =>
    readdirSync(join(edge.state, "storage"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".sqlite"))
      .toSorted();
  /** `count` requests from twenty addresses, on a connection each; how often each status came. */
  async function strangers(count: number, bytes: (i: number) => string): Promise<Map<number, number>> {
    const statuses = new Map<number, number>();
    await Promise.all(
      Array.from({ length: 20 }, async (_, k) => {
        let wire: Wire | undefined;
        for (let i = k; i < count; i += 20) {
          if (wire === undefined || wire.end !== "open")
            wire = await Wire.connect({ ...edge.api.place, localAddress: `127.59.0.${k + 1}` });
          wire.send(bytes(i), "GET");
          const status = (await wire.answer(20_000))?.status ?? 0;
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
        wire?.[Symbol.dispose]();
      }),
    );
    return statuses;
  }
  const secret = (i: number) => `x${i}_${"A".repeat(43)}`;

  test.for([
    [
      "tokens",
      (i: number) =>
        `GET /api/v1/clusters/home/nodes HTTP/1.1\r\nHost: {H}\r\nAuthorization: Bearer pst_${secret(i)}\r\n\r\n`,
    ],
    ["install codes", (i: number) => `GET /install/psi_${secret(i)}.yaml HTTP/1.1\r\nHost: {H}\r\n\r\n`],
  ] as const)("with 1,000 made-up %s leave nothing (S6)", async ([, bytes]) => {
    const [names, fds] = [files(), new Map(servers.map((pid) => [pid, fdsOf(pid)]))];
    const statuses = await strangers(1_000, (i) => bytes(i).replace("{H}", edge.api.place.authority));
    expect([...statuses.keys()].filter((status) => ![401, 403, 404, 410, 429].includes(status))).toEqual([]);
    expect(files()).toEqual(names);
    await expect
      .poll(() => servers.filter((pid) => fdsOf(pid) > (fds.get(pid) ?? 0) + 60), { timeout: 20_000, interval: 250 })
      .toEqual([]);
  });

  test("do not lock out who knows the token", async () => {
    const { statusCode, body } = await request(`${edge.api.url}/api/v1/clusters`, {
      headers: { authorization: `Bearer ${edge.api.token}` },
    });
    await body.dump();
    expect(statusCode).toBe(200);
    expect(await statusAt(edge.door("one"))).toBe(200);
  });
});

describe("another cluster's token", () => {
  let token: string;
  let sequence = 0;
  beforeAll(async () => {
    const { body } = await request(`${edge.api.url}/api/v1/clusters`, {
      method: "POST",
      headers: { authorization: `Bearer ${edge.api.token}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "other" }),
    });
    ({ token } = z.object({ token: z.string() }).parse(await body.json()));
  });

  test.for([
    [
      "200,000 endpoints that are nothing",
      () =>
        `{"version":1,"nodes":[],"services":[${Array.from({ length: 20 }, () => `{"endpoints":[${Array.from({ length: 10_000 }, () => "{}").join()}]}`).join()}]}`,
    ],
    ["brackets, 7 MiB of them", () => "[".repeat(7 * 1024 * 1024)],
    [
      "a million numbers for nodes",
      () => `{"version":1,"nodes":[${Array.from({ length: 1_000_000 }, () => "1").join()}],"services":[]}`,
    ],
    [
      "unknown fields by the thousand",
      () => `{"version":1,"nodes":[],"services":[],${Array.from({ length: 200_000 }, (_, i) => `"f${i}":1`).join()}}`,
    ],
    // These are taken.
    ...largest.map(([what, text]) => [what, () => text, [200]] as const),
  ] as const)("cannot stop the edge with a snapshot of %s (S5)", async ([, make, statuses = [400, 413, 422]]) => {
    const body = gzipSync(make());
    await bystander.report();
    const answer = await request(`${edge.api.url}/api/v1/clusters/other/snapshot`, {
      method: "PUT",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "content-encoding": "gzip",
        "postern-generation": `1.${++sequence}`,
      },
      body,
      headersTimeout: 60_000,
    });
    const text = await answer.body.text();
    expect(statuses, text.slice(0, 200)).toContain(answer.statusCode);
    if (answer.statusCode !== 200) expect(text.length).toBeLessThan(20_000);
    const { worstMs, failures } = await bystander.report();
    expect(failures).toEqual([]);
    expect(worstMs).toBeLessThan(stallMs(undisturbed));
  });
});

test("a Service that leads back to its own listener is a 508 (S12)", async () => {
  const begun = performance.now();
  const { answer } = await ask(edge.door("loop"));
  // To the first hop it is a server's answer, from which our own words are taken.
  expect(answer?.status).toBe(508);
  expect(performance.now() - begun).toBeLessThan(5_000);
  await bystander.report();
  expect(await statusAt(edge.door("one"))).toBe(200);
});

test("a head that takes a minute is given up, at listeners and the admin host (S11)", {
  timeout: HEAD_MS + 20_000,
}, async () => {
  const took = await Promise.all(
    [...slow].map(async ([what, ended]) => [what, Math.round((await ended) / 1_000)] as const),
  );
  expect(took.filter(([, seconds]) => seconds > 93 || seconds < 20)).toEqual([]);
});

test("all the while the same processes ran", () => {
  expect(servers.filter((pid) => !isAlive(pid))).toEqual([]);
  expect(edge.said()).not.toMatch(/This is a bug|TypeError/);
});
