// `postern logs`: how a line reads, and what happens when the log breaks off.
import { describe, expect, it } from "vitest";
import { programOf } from "../../cli/program.ts";
import type { Effects } from "../../cli/session.ts";
import { logHead, logText } from "../../cli/log-text.ts";
import type { LogLine, LogRecord } from "../../src/shared/control/access-log.ts";
import type { Outgoing } from "../../src/shared/control/client.ts";

const record: LogRecord = {
  at: new Date(2026, 10, 28, 1, 2, 3, 4).getTime(),
  ms: 12.4,
  client: "203.0.113.9",
  scheme: "http",
  hostname: "web.test",
  port: 8080,
  method: "GET",
  path: "/a",
  status: 200,
  reason: null,
  service: "default/web",
  transport: "tunnel",
  tries: [
    { node: "n2", afterMs: 0, ms: 3, outcome: "no-endpoints" },
    { node: "n1", afterMs: 3, ms: 9, outcome: "200", endpoint: "10.42.0.7:8080", sentAfterMs: 1, answeredAfterMs: 6 },
  ],
  trace: null,
  userAgent: "curl/8\u001b[31m",
};
const cells = (line: string): string[] => line.trimEnd().split(/ +/);

describe("a line", () => {
  it("says when, what, where and who; wide also every node that was asked", () => {
    const own = ["01:02:03.004", "200", "12", "GET", "http://web.test:8080/a", "default/web", "n1", "10.42.0.7:8080"];
    expect(cells(logText(record, false))).toEqual([...own, "203.0.113.9"]);
    const wide = cells(logText(record, true));
    expect(wide.slice(9)).toEqual(["tunnel", "n2=no-endpoints+3,n1=200+9", "-", "curl/8", "[31m"]);
    expect(logText(record, false).indexOf("http://")).toBe(logHead(false).indexOf("URL"));
  });

  it("has the reason where the edge answers in the server's place, and a dash for what there is not", () => {
    const refused = { ...record, status: 403, reason: "source-refused", tries: [], client: "" };
    expect(cells(logText(refused, false)).slice(1)).toEqual([
      ...["403", "source-refused", "12", "GET", "http://web.test:8080/a", "default/web", "-", "-", "-"],
    ]);
  });
});

/** `rounds`: what each reading brings before it breaks; a number is a refusal's status. */
async function logs(args: readonly string[], rounds: readonly (readonly LogLine[] | number)[]) {
  let out = "";
  const told: string[] = [];
  const asked: string[] = [];
  const pauses: number[] = [];
  const left = [...rounds];
  const effects = {
    environment: { POSTERN_EDGE: "https://postern.test", POSTERN_TOKEN: "secret", POSTERN_CLUSTER: "home" },
    readConfig: () => ({ contexts: [] }),
    send: ({ url, stream }: Outgoing) => {
      asked.push(`${url.pathname}${url.search}`);
      const round = left.shift() ?? [];
      if (typeof round === "number")
        return Promise.resolve({ status: round, header: () => undefined, text: '{"title":"no","detail":"no"}' });
      // Lines are cut wherever the network cuts them.
      for (const character of round.map((line) => `${JSON.stringify(line)}\n`).join("")) stream?.onText(character);
      return Promise.reject(new Error("socket hang up"));
    },
    print: (text: string) => void (out += text),
    tell: (line: string) => void told.push(line),
    pause: (ms: number) => {
      pauses.push(ms);
      return left.length === 0 ? Promise.reject(new Error("Ctrl-C")) : Promise.resolve();
    },
  } as unknown as Effects;
  const ended: unknown = await programOf(effects)
    .parseAsync(["node", "postern", "logs", ...args])
    .catch((error: unknown) => error);
  return { out, told, asked, pauses, ended };
}

const request = (path: string): LogLine => ({ kind: "request", request: { ...record, path } });

describe("postern logs", () => {
  it("asks with the filters, prints a head once, and goes on after a break", async () => {
    const { out, told, asked, pauses } = await logs(
      ["--service", "default/web", "--status", "2xx", "--method", "get"],
      [[{ kind: "alive" }, request("/1"), { kind: "left-out", count: 7 }], 503, [{ kind: "alive" }, request("/2")]],
    );
    expect(asked).toEqual(Array(3).fill("/api/v1/clusters/home/logs?service=default%2Fweb&status=2xx&method=GET"));
    expect(out.split("\n").map((line) => cells(line)[4] ?? "")).toEqual([
      "URL",
      "http://web.test:8080/1",
      "http://web.test:8080/2",
      "",
    ]);
    expect(told).toEqual([
      "7 requests are not shown: there were too many at once.",
      expect.stringMatching(/^The log broke off: .*socket hang up.* Again in 1 s\.$/),
      expect.stringMatching(/^The log broke off: .* Again in 2 s\.$/),
      "The log goes on.",
      expect.stringMatching(/Again in 1 s\.$/),
    ]);
    expect(pauses).toEqual([1_000, 2_000, 1_000]);
  });

  it("prints a document a request for programs, and nothing else", async () => {
    const { out } = await logs(["-o", "json"], [[{ kind: "alive" }, request("/1"), request("/2")]]);
    const paths = out
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as LogRecord).path);
    expect(paths).toEqual(["/1", "/2"]);
    expect((await logs(["-o", "yaml"], [[request("/1")]])).out).toMatch(/^---\nat: \d+\n/);
  });

  it("ends where it never began, and refuses a filter that cannot be", async () => {
    expect((await logs([], [403])).ended).toMatchObject({ code: 5 });
    expect((await logs([], [404])).ended).toMatchObject({ code: 3 });
    const wrong = await logs(["--trace", "abc"], []);
    expect(wrong.ended).toMatchObject({ code: 2, message: expect.stringContaining("--trace: must be a trace id") });
    expect(wrong.asked).toEqual([]);
  });
});
