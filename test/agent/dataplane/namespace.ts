// A network namespace for a test: programs run in it as the executor runs them, servers and clients are in it, and it ends with
// the process that holds it. Needs root. The machine's own rules are never touched.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { run, type Ran, type Run } from "../../../agent/dataplane/kernel/run.ts";

export type Asked =
  | { readonly do: "listen"; readonly host: string; readonly port: number }
  | {
      readonly do: "dial";
      readonly host: string;
      readonly port: number;
      readonly from?: string;
      readonly timeoutMs: number;
    };

export class Namespace implements AsyncDisposable {
  readonly #pods: ChildProcess;
  readonly #waiting = new Map<number, (said: string) => void>();
  #next = 0;

  private constructor(pods: ChildProcess) {
    this.#pods = pods;
    pods.on("message", ({ id, said }: { readonly id: number; readonly said: string }) => {
      this.#waiting.get(id)?.(said);
      this.#waiting.delete(id);
    });
  }

  /** The node's address is on a wire to which everything goes that has no other route; pods' are on the loopback device. */
  static async create(nodeAddress: string, addresses: readonly string[]): Promise<Namespace> {
    const program = new URL("namespace-pods.ts", import.meta.url).pathname;
    const pods = spawn("unshare", ["--net", process.execPath, program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    await once(pods, "spawn");
    const namespace = new Namespace(pods);
    // The first answer comes from inside: the namespace is there.
    await namespace.dial("127.0.0.1", 1);
    await namespace.must("ip", "link", "set", "lo", "up");
    await namespace.must("ip", "link", "add", "wire", "type", "veth", "peer", "name", "end");
    for (const device of ["wire", "end"]) await namespace.must("ip", "link", "set", device, "up");
    await namespace.must("ip", "address", "add", `${nodeAddress}/24`, "dev", "wire");
    for (const address of addresses) await namespace.must("ip", "address", "add", `${address}/32`, "dev", "lo");
    await namespace.must("ip", "route", "add", "default", "dev", "wire");
    return namespace;
  }

  readonly run: Run = (program, args, input) =>
    run("nsenter", [`--net=/proc/${this.#pods.pid}/ns/net`, program, ...args], input);

  async must(program: string, ...args: readonly string[]): Promise<string> {
    const ran: Ran = await this.run(program, args);
    if (ran.code !== 0) throw new Error(`${program} ${args.join(" ")}: ${ran.stderr}`);
    return ran.stdout;
  }

  async listen(host: string, port: number): Promise<void> {
    await this.#ask({ do: "listen", host, port });
  }

  /** The address of the server that answered, "refused", or "timeout". */
  dial(
    host: string,
    port: number,
    parts: { readonly from?: string; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    return this.#ask({ do: "dial", host, port, timeoutMs: 5_000, ...parts });
  }

  #ask(asked: Asked): Promise<string> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#pods.send({ id, asked });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#pods, "exit");
    this.#pods.disconnect();
    await ended;
  }
}
