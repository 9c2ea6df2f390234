// Options: what is taken, and what each mistake is answered with.
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { edgeOf, parseOptions, readToken } from "../../agent/options.ts";
import { help } from "../../agent/options-help.ts";

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
const ofProxy = [
  "proxy-mode",
  "kube-proxy-config",
  "cluster-cidr",
  "kube-api",
  "proxy-health-address",
  "proxy-metrics-address",
];
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
    ["an unknown proxy", ["--proxy", "ebpf"], /^--proxy must be none, userspace or all/],
    ["an address that is none", ["--address", "node-a"], /^--address must be an IP address/],
    ["an external name with a scheme", ["--allow-external-name", "http://nas"], /^--allow-external-name must list/],
    ["the kernel, by a mode", ["--proxy", "all", "--proxy-mode", "iptables", "--cluster-cidr", "10.244.0.0/16"], true],
    ["an unknown mode", ["--proxy", "all", "--proxy-mode", "ebpf"], /^--proxy-mode must be one of nftables/],
    ["a mode without the kernel", ["--proxy-mode", "nftables"], /^--proxy-mode is for --proxy all only/],
    [
      "a port of kube-proxy's without the kernel",
      ["--proxy-health-address", ":1"],
      /^--proxy-health-address is for --proxy all/,
    ],
    ["pods at no CIDR", ["--proxy", "all", "--cluster-cidr", "10.244"], /^--cluster-cidr must be a CIDR/],
    ["an API server for files", ["--kube-api", "https://10.0.0.1:6443"], /^--kube-api is for --source kube only/],
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

  it("needs no edge in kube-proxy's place, but all of one or nothing", () => {
    const alone = parse(["--proxy", "all", "--node", "n1"]);
    expect(alone).toMatchObject({ ok: true, options: { source: "kube" }, kubeProxy: {}, warnings: [] });
    expect(alone.ok && edgeOf(alone.options)).toBeUndefined();
    expect(parse(["--proxy", "all", "--cluster", "home"])).toMatchObject({
      ok: false,
      problems: [expect.stringMatching(/^--edge is needed/), expect.stringMatching(/^--token-file is needed/)],
    });
    const beside = parse(["--proxy", "all", ...good]);
    expect(beside.ok && edgeOf(beside.options)).toEqual({
      edge: new URL("https://edge.test"),
      cluster: "home",
      tokenFile: "t",
    });
  });

  it("takes several API servers, by TLS, instead of a kubeconfig", () => {
    const servers = "https://10.0.0.1:6443, https://[fd00::1]:6443";
    expect(parse(["--proxy", "all", "--kube-api", servers])).toMatchObject({
      options: { "kube-api": [new URL("https://10.0.0.1:6443"), new URL("https://[fd00::1]:6443")] },
    });
    for (const wrong of ["http://10.0.0.1:6443", "10.0.0.1:6443", "", "https://10.0.0.1,"]) {
      expect(parse(["--proxy", "all", "--kube-api", wrong])).toMatchObject({
        problems: [expect.stringMatching(/^--kube-api must be URLs such as https/)],
      });
    }
    expect(parse(["--proxy", "all", "--kube-api", servers, "--kubeconfig", "k"])).toMatchObject({
      problems: [expect.stringMatching(/^--kube-api is for pods/)],
    });
  });

  it("explains each option in an error", () => {
    expect(JSON.stringify(withFlags("--edge", "https://me:secret@example.com"))).not.toContain("secret");
  });

  it("explains each option, with examples", () => {
    expect(parse(["--help"])).toEqual({ ok: false, help: true });
    for (const flag of [
      "edge",
      "cluster",
      "token-file",
      "manifests",
      "node",
      "address",
      "proxy",
      "health-address",
      ...ofProxy,
    ]) {
      expect(help).toContain(`--${flag} `);
    }
    expect(help).toContain("Examples:");
  });
});

describe("--kube-proxy-config", () => {
  const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "postern-config-"));
    file = join(folder, "config.conf");
  });
  afterEach(() => rm(folder, { recursive: true }));
  const read = async (content: string, ...more: string[]) => {
    await writeFile(file, head + content);
    return parse(["--proxy", "all", "--kube-proxy-config", file, ...more]);
  };

  it("says what flags do not, and flags win", async () => {
    const content =
      "hostnameOverride: node-a\nclientConnection: {kubeconfig: /etc/kube.conf}\nmode: iptables\nfoo: 1\n";
    expect(await read(content)).toMatchObject({
      ok: true,
      options: { node: "node-a", kubeconfig: "/etc/kube.conf" },
      kubeProxy: { mode: "iptables" },
      warnings: [`--kube-proxy-config ${file}: foo is not used: no such field is known`],
    });
    expect(await read(content, "--node", "node-b", "--kubeconfig", "k")).toMatchObject({
      options: { node: "node-b", kubeconfig: "k" },
    });
    const servers = await read(content, "--kube-api", "https://10.0.0.1:6443");
    expect(servers.ok && servers.options.kubeconfig).toBeUndefined();
  });

  it("is named where its name of the Node is none", async () => {
    const wrong = /^--kube-proxy-config .*config\.conf: hostnameOverride must be this node's name/;
    expect(await read("hostnameOverride: node_a\n")).toMatchObject({ problems: [expect.stringMatching(wrong)] });
    expect(await read("hostnameOverride: node_a\n", "--node", "node_b")).toMatchObject({
      problems: [expect.stringMatching(/^--node must be/)],
    });
    expect(await read("hostnameOverride: node_a\n", "--node", "node-b")).toMatchObject({ ok: true });
  });

  it("is named with what is wrong in it", async () => {
    const wrong = expect.stringMatching(
      /^--kube-proxy-config .*config\.conf: mode must be one of nftables, iptables, ipvs$/,
    );
    expect(await read("mode: winkernel\n")).toMatchObject({ ok: false, problems: [wrong] });
    expect(parse(["--proxy", "all", "--kube-proxy-config", "/nowhere"])).toMatchObject({
      problems: ["--kube-proxy-config /nowhere: cannot be read: ENOENT"],
    });
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
