// A node's ipvs, ipset and addresses in memory, beside two iptables: takes what the programs read, prints what they print (as
// ipvsadm 1.31, ipset 7.17 and iproute2 6.1 do), and refuses as they do. Each line of a program's input is done by itself.
import type { Ran, Run } from "../../../../agent/dataplane/kernel/run.ts";
import { FakeIptables } from "../iptables/fake-iptables.ts";

interface FakeServer {
  options: string;
  readonly destinations: Map<string, { weight: number; method: string; connections: number }>;
}

const protocols: Readonly<Record<string, string>> = { "-t": "TCP", "-u": "UDP", "--sctp-service": "SCTP" };

export class FakeNode {
  /** By "-t 10.96.0.1:80". */
  readonly servers = new Map<string, FakeServer>();
  readonly sets = new Map<string, { readonly type: string; readonly entries: Set<string> }>();
  /** Undefined: there is no device. */
  device: Set<string> | undefined;
  readonly iptables = { IPv4: new FakeIptables(), IPv6: new FakeIptables() };
  /** Program, arguments and input of each run. */
  readonly calls: string[] = [];
  /** Lines that match it are refused. */
  refuses: RegExp | undefined;
  /** So many entries a set has room for. */
  room = 65_536;
  schedulers = ["rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "mh"];
  /** Program → what it says instead of working. */
  readonly broken = new Map<string, Ran>();
  timeouts = "";
  /** So many runs are done; before the next one the process is killed. */
  lives = Number.POSITIVE_INFINITY;

  constructor() {
    this.iptables.IPv6.installed = /^ip6tables/;
  }

  readonly run: Run = async (program, args, input = "") => {
    if (this.lives-- <= 0) throw new Error("killed");
    this.calls.push([program, ...args, ...(input === "" ? [] : ["<", input.trimEnd()])].join(" "));
    const broken = this.broken.get(program);
    if (broken !== undefined) return broken;
    if (program.startsWith("ip6tables")) return await this.iptables.IPv6.run(program, args, input);
    if (program.startsWith("iptables")) return await this.iptables.IPv4.run(program, args, input);
    if (program === "ipvsadm") return this.#ipvsadm(args, input);
    if (program === "ipset") return this.#ipset(args, input);
    if (program === "ip") return this.#ip(args, input);
    throw new Error(`what is ${program}?`);
  };

  /** All that packets meet, in an order that does not depend on how it came to be. Destinations that drain are left out. */
  dump(): string {
    const servers = [...this.servers].map(([key, { options, destinations }]) => {
      const lines = [...destinations].filter(([, { weight }]) => weight > 0);
      return `${key} ${options}\n${lines
        .map(([socket, { weight }]) => `  ${socket} ${weight}`)
        .sort()
        .join("\n")}`;
    });
    const sets = [...this.sets].map(
      ([name, { type, entries }]) => `${name} ${type}\n  ${[...entries].sort().join(" ")}`,
    );
    return [
      ...[servers.sort(), sets.sort(), [...(this.device ?? ["no device"])].sort()].flat(),
      ...[this.iptables.IPv4.dump(), this.iptables.IPv6.dump()],
    ].join("\n");
  }

  #ipvsadm(args: readonly string[], input: string): Ran {
    if (args[0] === "-Ln") return done(this.#listing());
    if (args[0] === "--set") this.timeouts = args.slice(1).join(" ");
    if (args[0] === "--set" || args[0] === "--version") return done("");
    if (args[0] !== "-R") {
      const problem = this.#server(args);
      return problem === undefined ? done("") : failed(problem, 255);
    }
    const said: string[] = [];
    let last: string | undefined;
    for (const line of linesOf(input)) {
      // It does not understand such a line, and goes no further.
      if (/:\d{6,}|:[7-9]\d{4}/.test(line))
        return failed([...said, "illegal real server address[:port] specified"].join("\n"), 2);
      last = this.refuses?.test(line) === true ? "Invalid operation." : this.#server(line.split(" "));
      if (last !== undefined) said.push(last);
    }
    return { code: last === undefined ? 0 : 255, stdout: "", stderr: said.join("\n") };
  }

  /** One command; what it says where it fails. */
  #server([command = "", flag = "", socket = "", ...rest]: readonly string[]): string | undefined {
    const key = `${flag} ${socket}`;
    const server = this.servers.get(key);
    if (command === "-A" || command === "-E") {
      if ((server !== undefined) === (command === "-A"))
        return command === "-A" ? "Service already exists" : "Service not defined";
      if (!this.schedulers.includes(rest[1] ?? "")) return "Scheduler or persistence engine not found";
      if (server === undefined) this.servers.set(key, { options: rest.join(" "), destinations: new Map() });
      else server.options = rest.join(" ");
      return undefined;
    }
    if (server === undefined) return command === "-D" ? "No such service" : "Service not defined";
    if (command === "-D") return this.servers.delete(key) ? undefined : "";
    const [, real = "", method = "", , weight] = rest;
    const known = server.destinations.get(real);
    if (command === "-a" && known !== undefined) return "Destination already exists";
    if (command !== "-a" && known === undefined) return "No such destination";
    if (command === "-d") server.destinations.delete(real);
    else server.destinations.set(real, { weight: Number(weight), method, connections: known?.connections ?? 0 });
    return undefined;
  }

  #listing(): string {
    const lines = [...this.servers].flatMap(([key, { options, destinations }]) => {
      const [flag = "", socket] = key.split(" ");
      const [, scheduler, flags, persistence] = /^-s (\S+)(?: -b (\S+))?(?: -p (\d+))?/.exec(options) ?? [];
      const shown = `${flags === undefined ? "" : ` (${flags})`}${persistence === undefined ? "" : ` persistent ${persistence}`}`;
      return [
        `${(protocols[flag] ?? "").padEnd(4)} ${socket} ${scheduler}${shown}`,
        ...[...destinations].map(
          ([real, { weight, method, connections }]) =>
            `  -> ${real.padEnd(28)} ${method === "-m" ? "Masq   " : "Route  "} ${String(weight).padEnd(6)} ${String(connections).padEnd(10)} 0         `,
        ),
      ];
    });
    return [
      "IP Virtual Server version 1.2.1 (size=4096)",
      "Prot LocalAddress:Port Scheduler Flags",
      "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
      ...lines,
      "",
    ].join("\n");
  }

  #ipset(args: readonly string[], input: string): Ran {
    const sets = [...this.sets];
    if (args[0] === "--version") return done("ipset v7.17, protocol version: 7\n");
    if (args[0] === "save")
      return done(
        sets
          .flatMap(([name, { type, entries }]) => [
            `create ${name} ${type} bucketsize 12 initval 0x1`,
            ...[...entries].map((entry) => `add ${name} ${entry}`),
          ])
          .join("\n") + "\n",
      );
    if (args[0] === "list")
      return done(
        sets
          .map(
            ([name, { entries }]) => `Name: ${name}\nType: hash\nReferences: 1\nNumber of entries: ${entries.size}\n`,
          )
          .join("\n"),
      );
    for (const [index, line] of linesOf(input).entries()) {
      const problem = this.refuses?.test(line) === true ? "Hash is full" : this.#set(line.split(" "));
      if (problem !== undefined) return failed(`ipset v7.17: Error in line ${index + 1}: ${problem}`, 1);
    }
    return done("");
  }

  /** As with -exist. */
  #set([command = "", name = "", ...rest]: readonly string[]): string | undefined {
    const set = this.sets.get(name);
    if (command === "create") {
      if (set !== undefined) return set.type === rest.join(" ") ? undefined : "Set cannot be created";
      this.sets.set(name, { type: rest.join(" "), entries: new Set() });
      return undefined;
    }
    if (set === undefined) return "The set with the given name does not exist";
    const entry = (rest[0] ?? "").replace(
      /(?<=,)\d+(?=:)/,
      (number) => ({ 6: "tcp", 17: "udp", 132: "sctp" })[number] ?? "?",
    );
    if (command === "add") {
      if (set.entries.size >= this.room && !set.entries.has(entry)) return "Hash is full, cannot add more elements";
      set.entries.add(entry);
    }
    if (command === "del") set.entries.delete(entry);
    if (command !== "destroy") return undefined;
    const rules = [this.iptables.IPv4, this.iptables.IPv6].map((each) => each.dump()).join();
    if (rules.includes(`--match-set ${name} `)) return "Set cannot be destroyed: it is in use by a kernel component";
    this.sets.delete(name);
    return undefined;
  }

  #ip(args: readonly string[], input: string): Ran {
    const words = args.join(" ");
    if (words === "link add kube-ipvs0 type dummy") {
      if (this.device !== undefined) return failed("RTNETLINK answers: File exists", 2);
      this.device = new Set();
      return done("");
    }
    if (this.device === undefined) return failed('Device "kube-ipvs0" does not exist.', 1);
    if (words === "link delete kube-ipvs0") {
      this.device = undefined;
      return done("");
    }
    if (words === "-o addr show dev kube-ipvs0")
      return done(
        [...this.device]
          .map(
            (each) =>
              `2: kube-ipvs0    inet${each.includes(":") ? "6" : ""} ${each} scope global kube-ipvs0\\    valid\n`,
          )
          .join(""),
      );
    if (words !== "-force -batch -") return failed(`what is ip ${words}?`, 1);
    const said = linesOf(input).flatMap((line, index) => {
      const [, command, place = ""] = line.split(" ");
      const refused = this.refuses?.test(line) === true || (command === "del" && this.device?.has(place) !== true);
      if (refused)
        return [
          `RTNETLINK answers: ${command === "del" ? "Cannot assign requested address" : "Permission denied"}\nCommand failed -:${index + 1}`,
        ];
      if (command === "del") this.device?.delete(place);
      else this.device?.add(place);
      return [];
    });
    return said.length === 0 ? done("") : failed(said.join("\n"), 1);
  }
}

const linesOf = (input: string): string[] => input.split("\n").filter((line) => line !== "");
const done = (stdout: string): Ran => ({ code: 0, stdout, stderr: "" });
const failed = (stderr: string, code: number): Ran => ({ code, stdout: "", stderr });
