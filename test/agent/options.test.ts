// Options: what is taken, and what each mistake is answered with.
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { help, parseOptions, readToken } from "../../agent/options.ts";

const good = [
  "--edge",
  "https://edge.test",
  "--cluster",
  "home",
  "--token-file",
  "t",
  "--manifests",
  "m",
  "--node",
  "n1",
];
const parse = (args: readonly string[], environment: Record<string, string> = {}) => parseOptions(args, environment);
/** Later flags win, as everywhere. */
const withFlags = (...more: string[]) => parse([...good, ...more]);

describe("options", () => {
  it("has defaults for all that is not needed", () => {
    expect(withFlags()).toMatchObject({
      ok: true,
      options: { proxy: "none", "default-class": false, "allow-external-name": [], "log-level": "info", node: "n1" },
    });
  });

  it("takes an address in --allow-external-name for that address alone", () => {
    const list = "lan,192.168.1.2,::ffff:192.168.1.3,FD00:0::2,10.0.0.0/8";
    expect(withFlags("--allow-external-name", list)).toMatchObject({
      options: { "allow-external-name": ["lan", "192.168.1.2/32", "192.168.1.3/32", "fd00::2/128", "10.0.0.0/8"] },
    });
  });

  it("reads the environment, and flags win", () => {
    const environment = {
      POSTERN_EDGE: "https://other.test",
      POSTERN_LOG_LEVEL: "debug",
      POSTERN_DEFAULT_CLASS: "true",
      POSTERN_IGNORE_EXCLUDE_LABEL: "false",
      POSTERN_ALLOW_EXTERNAL_NAME: "lan, 10.0.0.0/8",
    };
    expect(parse(good, environment)).toMatchObject({
      ok: true,
      options: {
        edge: "https://edge.test",
        "log-level": "debug",
        "default-class": true,
        "ignore-exclude-label": false,
        "allow-external-name": ["lan", "10.0.0.0/8"],
      },
    });
  });

  it.each([
    ["https anywhere", ["--edge", "https://example.com/base"], true],
    ["plain http to loopback", ["--edge", "http://127.0.0.1:8787", "--insecure-plain-http"], true],
    ["plain http to localhost", ["--edge", "http://admin.localhost:8787", "--insecure-plain-http"], true],
    ["plain http to a private address", ["--edge", "http://192.168.1.2", "--insecure-plain-http"], true],
    ["plain http to IPv6 loopback", ["--edge", "http://[::1]:8787", "--insecure-plain-http"], true],
    ["plain http unasked", ["--edge", "http://127.0.0.1:8787"], /^--edge is plain http: add --insecure-plain-http/],
    [
      "plain http to the Internet",
      ["--edge", "http://example.com", "--insecure-plain-http"],
      /^--edge must be https: the token/,
    ],
    [
      "plain http to a public address",
      ["--edge", "http://8.8.8.8", "--insecure-plain-http"],
      /^--edge must be https: the token/,
    ],
    ["credentials in the URL", ["--edge", "https://me:secret@example.com"], /^--edge must not hold credentials/],
    ["another scheme", ["--edge", "ftp://example.com"], /^--edge must be the edge's URL/],
    ["no URL", ["--edge", "example.com"], /^--edge must be the edge's URL/],
    ["a cluster in upper case", ["--cluster", "Home"], /^--cluster must be a DNS label/],
    ["userspace with an address", ["--proxy", "userspace", "--address", "127.0.1.1"], true],
    ["userspace without one", ["--proxy", "userspace"], /^--address is needed with --proxy userspace/],
    ["an unknown proxy", ["--proxy", "ebpf"], /^--proxy must be none or userspace/],
    ["an address that is none", ["--address", "node-a"], /^--address must be an IP address/],
    ["an external name with a scheme", ["--allow-external-name", "http://nas"], /^--allow-external-name must list/],
    ["health on a port", ["--health-address", ":10256"], true],
    ["health without one", ["--health-address", "127.0.0.1"], /^--health-address must be an address and a port/],
    ["an unknown level", ["--log-level", "loud"], /^--log-level must be fatal/],
    ["an unknown flag", ["--token", "secret"], /Unknown option '--token'/],
  ])("%s", (_what, args, expected) => {
    const parsed = withFlags(...args);
    if (expected === true) expect(parsed).toMatchObject({ ok: true });
    else expect(parsed).toMatchObject({ ok: false, problems: [expect.stringMatching(expected as RegExp)] });
  });

  it("names everything that is missing at once", () => {
    const parsed = parse([]);
    expect(parsed.ok || parsed.help ? [] : parsed.problems.map((problem) => problem.split(" ")[0])).toEqual([
      "--edge",
      "--cluster",
      "--token-file",
      "--manifests",
    ]);
  });

  it("never repeats a credential in an error", () => {
    expect(JSON.stringify(withFlags("--edge", "https://me:secret@example.com"))).not.toContain("secret");
  });

  it("explains each option, with examples", () => {
    expect(parse(["--help"])).toEqual({ ok: false, help: true });
    for (const flag of ["edge", "cluster", "token-file", "manifests", "node", "address", "proxy", "health-address"]) {
      expect(help).toContain(`--${flag} `);
    }
    expect(help).toContain("Examples:");
  });
});

describe("readToken", () => {
  it("reads one line, and names file and remedy where it cannot", async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-token-"));
    const file = join(folder, "token");
    expect(() => readToken(file)).toThrow(/--token-file .*token cannot be read: ENOENT/);
    await writeFile(file, "pst_home_0123456789abcdef\n");
    expect(readToken(file)).toBe("pst_home_0123456789abcdef");
    for (const content of ["", "two words of a secret", "line\nline of a secret"]) {
      await chmod(file, 0o600);
      await writeFile(file, content);
      expect(() => readToken(file)).toThrow(/does not hold a token: one line, as the edge gave it$/);
    }
    await rm(folder, { recursive: true });
  });
});
