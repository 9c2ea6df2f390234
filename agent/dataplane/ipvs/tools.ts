// ipvsadm, ipset and ip: how they are called, and what mends it where one of them can do nothing at all on this node.
import { isForbidden } from "../kernel/ran.ts";
import type { Ran, Run } from "../kernel/run.ts";
import { DEVICE } from "./names.ts";

/** Nothing of this kind can be done on the node. The message says what mends it. */
export class Unable extends Error {
  /** Program or kernel are without it, so there is nothing of this kind either. */
  readonly isMissing: boolean;

  constructor(message: string, isMissing = false) {
    super(message);
    this.isMissing = isMissing;
  }
}

export const SET_IS_FULL = /Hash is full/;
const PROBE = "198.51.100.0:20000";
const packages: Readonly<Record<string, string>> = { ipvsadm: "ipvsadm", ipset: "ipset", ip: "iproute2" };
/** Each as the programs say it, and the modules whose lack it means. */
const lacks: readonly (readonly [said: RegExp, modules: string])[] = [
  [/Can't initialize ipvs/i, "ip_vs"],
  [/Unknown device type/i, "dummy"],
  [/Cannot open session to kernel/i, "ip_set"],
  [
    /set type not supported/i,
    "ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port",
  ],
];

export class Tools {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Virtual servers and destinations, with the numbers of their connections. */
  async servers(): Promise<string> {
    return (await this.#must("ipvsadm", ["-Ln"])).stdout;
  }

  /** ipvsadm goes on after a line that is refused, and its exit code is that of the last line. So whatever it says is an error. */
  async changeServers(lines: readonly string[]): Promise<Ran> {
    const ran = await this.#able("ipvsadm", ["-R"], text(lines));
    return ran.code === 0 && ran.stderr.trim() !== "" ? { ...ran, code: 1 } : ran;
  }

  /** In seconds; 0 leaves a time as it is. */
  async setTimeouts(tcp: number, tcpFin: number, udp: number): Promise<Ran> {
    return await this.#able("ipvsadm", ["--set", String(tcp), String(tcpFin), String(udp)]);
  }

  /** Asked with a server that is gone again at once, at an address that is for documentation (RFC 5737). */
  async hasScheduler(name: string): Promise<boolean> {
    const ran = await this.#able("ipvsadm", ["-A", "-t", PROBE, "-s", name]);
    if (/scheduler.*not found/i.test(ran.stderr)) return false;
    await this.#able("ipvsadm", ["-D", "-t", PROBE]);
    return true;
  }

  async sets(): Promise<string> {
    return (await this.#must("ipset", ["save"])).stdout;
  }

  /** Their sizes, without their entries. */
  async setSizes(): Promise<string> {
    return (await this.#must("ipset", ["list", "-terse"])).stdout;
  }

  /** An entry that is there already, or is not there any more, is no error. */
  async changeSets(lines: readonly string[]): Promise<Ran> {
    const ran = await this.#able("ipset", ["restore", "-exist"], text(lines));
    if (!SET_IS_FULL.test(ran.stderr)) return ran;
    return {
      ...ran,
      stderr: `${ran.stderr.trim()}. In this mode a set takes 65,536; --proxy-mode nftables has no limit`,
    };
  }

  /** Undefined where there is no such device. */
  async addresses(): Promise<string | undefined> {
    const ran = await this.#able("ip", ["-o", "addr", "show", "dev", DEVICE]);
    if (ran.code !== 0 && /does not exist|Cannot find device/i.test(ran.stderr)) return undefined;
    return this.#checked("ip", ran).stdout;
  }

  async changeAddresses(lines: readonly string[]): Promise<Ran> {
    return await this.#able("ip", ["-force", "-batch", "-"], text(lines));
  }

  async addDevice(): Promise<void> {
    const ran = await this.#able("ip", ["link", "add", DEVICE, "type", "dummy"]);
    if (!/File exists/i.test(ran.stderr)) this.#checked("ip", ran);
  }

  async removeDevice(): Promise<void> {
    await this.#must("ip", ["link", "delete", DEVICE]);
  }

  async #must(program: string, args: readonly string[]): Promise<Ran> {
    return this.#checked(program, await this.#able(program, args));
  }

  #checked(program: string, ran: Ran): Ran {
    if (ran.code !== 0) throw new Unable(`${program} failed: ${ran.stderr.trim()}`);
    return ran;
  }

  async #able(program: string, args: readonly string[], input?: string): Promise<Ran> {
    const ran = await this.#run(program, args, input);
    const why = unable(program, ran);
    if (why !== undefined) throw why;
    return ran;
  }
}

const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");

/** Pure. Undefined where the program could do its work, whatever came of it. */
function unable(program: string, { code, stderr }: Ran): Unable | undefined {
  if (code === 0) return undefined;
  const said = stderr.trim().split("\n")[0]?.slice(0, 300) ?? "";
  if (code === undefined && !stderr.includes("cannot be run")) return new Unable(said);
  if (code === undefined) {
    const install = `apt-get install ${packages[program]}`;
    const needs = `The agent needs the package ${packages[program]} in its image, or on this machine: ${install}`;
    return new Unable(`${said}. ${needs}`, true);
  }
  // ip says "permission denied" of an IPv6 address where an interface has no IPv6.
  if (program === "ip" ? /operation not permitted/i.test(stderr) : isForbidden(stderr))
    return new Unable(
      `${program} may not change this node (${said}). The agent needs uid 0 and NET_ADMIN in the host's network: kubectl apply -k agent/manifests/overlays/ipvs`,
    );
  const modules = lacks.find(([pattern]) => pattern.test(stderr))?.[1];
  if (modules === undefined) return undefined;
  return new Unable(`the kernel cannot (${said}). Load the modules on the node, as root: modprobe -a ${modules}`, true);
}
