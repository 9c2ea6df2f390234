// Which sysctls are wanted, and that nothing is lowered, written twice, or fatal.
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { defaultSettings, type KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import {
  applySysctls,
  type ConntrackSettings,
  type Sysctl,
  wantedSysctls,
} from "../../../../agent/dataplane/kernel/sysctls.ts";

const conntrack: ConntrackSettings = {
  ...{ maxPerCore: 32_768, min: 131_072, tcpEstablishedSeconds: 86_400, tcpCloseWaitSeconds: 3_600 },
  ...{ tcpBeLiberal: false, udpSeconds: 0, udpStreamSeconds: 0 },
};
const wanted = (parts: Partial<KernelSettings> = {}, table: Partial<ConntrackSettings> = {}, cores = 4) =>
  Object.fromEntries(
    wantedSysctls({ ...defaultSettings, ...parts }, { ...conntrack, ...table }, ["IPv4"], cores).map(
      ({ path, value }) => [path.slice(path.lastIndexOf("/") + 1), value],
    ),
  );

describe("wanted", () => {
  it.each([
    [1, 131_072],
    [8, 262_144],
    [64, 1_048_576],
  ])("on %i cores: room for %i connections, and a bucket for four", (cores, entries) => {
    expect(wanted({}, {}, cores)).toMatchObject({ nf_conntrack_max: entries, hashsize: entries / 4 });
  });

  it("leaves alone what is 0", () => {
    expect(wanted({}, { maxPerCore: 0, tcpEstablishedSeconds: 0, tcpCloseWaitSeconds: 0 })).toEqual({ ip_forward: 1 });
    expect(wanted({}, { tcpBeLiberal: true, udpSeconds: 30 })).toMatchObject({
      nf_conntrack_tcp_be_liberal: 1,
      nf_conntrack_udp_timeout: 30,
    });
  });

  it.each<[Partial<KernelSettings>, boolean]>([
    [{ mode: "iptables" }, true],
    [{ mode: "nftables" }, false],
    [{ mode: "iptables", localhostNodePorts: false }, false],
    [{ mode: "iptables", nodePortAddresses: ["192.168.0.0/16"] }, false],
    [{ mode: "iptables", nodePortAddresses: ["primary", "localhost"] }, true],
  ])("routes loopback addresses with %j: %s", (settings, routes) => {
    expect("route_localnet" in wanted(settings)).toBe(routes);
  });

  it.each<[string, Partial<KernelSettings["ipvs"]>, Record<string, number>]>([
    ["6.1.0-18-amd64", {}, {}],
    ["5.9.0", {}, {}],
    ["5.8.18", {}, { conn_reuse_mode: 0 }],
    ["4.1.0", {}, { conn_reuse_mode: 0 }],
    ["3.10.0-1160.el7", {}, {}],
    ["6.1.0", { strictARP: true }, { arp_ignore: 1, arp_announce: 2 }],
  ])("of ipvs on kernel %s with %j: %j", (kernel, ipvs, more) => {
    const given = { ...defaultSettings, mode: "ipvs", ipvs: { ...defaultSettings.ipvs, ...ipvs } } as const;
    const off = { ...conntrack, maxPerCore: 0, tcpEstablishedSeconds: 0, tcpCloseWaitSeconds: 0 };
    const found = wantedSysctls(given, off, ["IPv4"], 1, kernel).map(({ path, value }) => [
      path.split("/").at(-1),
      value,
    ]);
    const always = { ip_forward: 1, conntrack: 1, expire_nodest_conn: 1, expire_quiescent_template: 1 };
    expect(Object.fromEntries(found)).toEqual({ ...always, ...more });
  });

  it("only says that IPv6 is not forwarded, and nothing of a family that nobody uses", () => {
    const of = (families: readonly ("IPv4" | "IPv6")[]) =>
      wantedSysctls(defaultSettings, conntrack, families, 1).filter(({ path }) => /forward/.test(path));
    expect(of(["IPv6"])).toMatchObject([{ path: "/proc/sys/net/ipv6/conf/all/forwarding", sayOnly: true }]);
    expect(of([])).toEqual([]);
  });
});

describe("applying", () => {
  it("sets what must be exactly so, and says where the module comes from that has it", async () => {
    const values = new Map([["/proc/sys/net/ipv4/vs/conn_reuse_mode", "1"]]);
    const [wants] = [{ path: "/proc/sys/net/ipv4/vs/conn_reuse_mode", value: 0, why: "so", atLeast: false }];
    const read = async (path: string) => values.get(path) ?? Promise.reject(new Error("ENOENT"));
    expect(await applySysctls([wants], { read, write: async (path, text) => void values.set(path, text) })).toEqual([]);
    expect([...values.values()]).toEqual(["0"]);
    values.set(wants.path, "1");
    const [said] = await applySysctls([wants], { read, write: async () => undefined });
    expect(said).toContain("modprobe ip_vs && sysctl -w net.ipv4.vs.conn_reuse_mode=0");
  });

  const sysctl = (path: string, value: number, parts: Partial<Sysctl> = {}): Sysctl => ({
    path,
    value,
    atLeast: false,
    why: "it works",
    ...parts,
  });
  const kernel = (files: Record<string, string>, readOnly: readonly string[] = []) => {
    const written: string[] = [];
    const fail = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));
    return {
      written,
      read: (path: string) => (files[path] === undefined ? fail("ENOENT") : Promise.resolve(`${files[path]}\n`)),
      write: (path: string, text: string) => {
        if (readOnly.includes(path)) return fail("EROFS");
        written.push(`${path}=${text}`);
        files[path] = text;
        return Promise.resolve();
      },
    };
  };

  it("writes what is not so, and lowers no limit", async () => {
    const files = kernel({ a: "0", b: "1", c: "100", d: "100", e: "7" });
    const said = await applySysctls(
      [
        sysctl("a", 1),
        sysctl("b", 1),
        sysctl("c", 200, { atLeast: true }),
        sysctl("d", 50, { atLeast: true }),
        sysctl("e", 5),
      ],
      files,
    );
    expect(files.written).toEqual(["a=1", "c=200", "e=5"]);
    expect(said).toEqual([]);
  });

  it("says with the command what it cannot or must not set, and goes on", async () => {
    const [forward, max, six] = [
      "/proc/sys/net/ipv4/ip_forward",
      "/proc/sys/net/netfilter/nf_conntrack_max",
      "/proc/sys/net/ipv6/conf/all/forwarding",
    ];
    const files = kernel({ [forward]: "0", [six]: "0", last: "0" }, [forward]);
    const said = await applySysctls(
      [sysctl(forward, 1), sysctl(max, 5), sysctl(six, 1, { sayOnly: true }), sysctl("last", 1)],
      files,
    );
    expect(files.written).toEqual(["last=1"]);
    expect(said).toEqual([
      `${forward} cannot be set (EROFS), and should be 1 so that it works. On the node, as root: sysctl -w net.ipv4.ip_forward=1`,
      `${max} cannot be set (ENOENT), and should be 5 so that it works. On the node, as root: modprobe nf_conntrack && sysctl -w net.netfilter.nf_conntrack_max=5`,
      `${six} is 0, and should be 1 so that it works. On the node, as root: sysctl -w net.ipv6.conf.all.forwarding=1 (and accept_ra=2 for interfaces that need router advertisements)`,
    ]);
  });
});

const namespaces = spawnSync("unshare", ["--net", "true"]).status === 0;
describe.skipIf(!namespaces)("in a network namespace of its own", () => {
  it("sets what the kernel has", () => {
    const program = new URL("set-sysctls.ts", import.meta.url).pathname;
    const files = ["ipv4/ip_forward", "ipv4/conf/all/route_localnet", "netfilter/nf_conntrack_udp_timeout"];
    const times = ["netfilter/nf_conntrack_tcp_timeout_established", "netfilter/nf_conntrack_tcp_timeout_close_wait"];
    const paths = [...files, ...times].map((file) => `/proc/sys/net/${file}`).join(" ");
    // The rule is there so that connections are tracked.
    const script = `nft add table ip t; nft 'add chain ip t c { type nat hook output priority 0; }'; ${process.execPath} ${program} && cat ${paths}`;
    const output = execFileSync("unshare", ["--net", "bash", "-c", script], { encoding: "utf8" });
    expect(output.trim().split("\n")).toEqual(["[]", "1", "1", "45", "86400", "3600"]);
  });
});
