// The agents and demo pods that run because the YAML lists them. Starts what is new in it, stops what left it; one that
// its user killed stays dead, which is what killing it is for. Says each change in plain words.
import { isDeepStrictEqual } from "node:util";
import { Child } from "../host/process/child.ts";
import type { Program } from "../host/process/programs.ts";
import type { Wanted, WantedNode, WantedPod } from "./manifests.ts";
import type { RunFolder } from "./run-folder.ts";

export interface AgentSettings {
  readonly edge: string;
  readonly cluster: string;
  readonly tokenFile: string;
  readonly manifests: string;
}

export class Processes {
  readonly #folder: RunFolder;
  readonly #say: (line: string) => void;
  /** Every one that was started and is still in the YAML, dead ones too. */
  readonly #nodes = new Map<string, { wanted: WantedNode; child: Child }>();
  readonly #pods = new Map<string, { wanted: WantedPod; child: Child }>();
  readonly #leaving = new Set<Child>();
  readonly #warnings = new Map<string, number>();
  /** Rejects when one ends before `settled` was called. */
  readonly failed: Promise<never>;
  readonly #fail: (error: Error) => void;
  #settled = false;
  #stopping = false;

  constructor(folder: RunFolder, say: (line: string) => void) {
    this.#folder = folder;
    this.#say = say;
    const { promise, reject } = Promise.withResolvers<never>();
    this.failed = promise;
    // Whoever starts us awaits it; without one it must not end the process.
    promise.catch(() => {});
    this.#fail = reject;
  }

  /** From here on the end of a process is an event, not a failed start. */
  settled(): void {
    this.#settled = true;
  }

  reconcilePods(wanted: Wanted): void {
    this.#reconcile(this.#pods, wanted.pods, (pod) =>
      this.#start(`pod ${pod.name}`, "pod", [
        ...["--name", pod.name, "--node", pod.node, "--address", pod.address],
        ...pod.ports.flatMap((port) => ["--port", String(port)]),
      ]),
    );
  }

  reconcileNodes(wanted: Wanted, settings: AgentSettings): void {
    this.#reconcile(this.#nodes, wanted.nodes, (node) =>
      this.#start(`node ${node.name}`, "agent", [
        ...["--node", node.name, "--address", node.address, "--manifests", settings.manifests],
        ...["--edge", settings.edge, "--cluster", settings.cluster, "--token-file", settings.tokenFile],
        ...["--proxy", "userspace", "--insecure-plain-http"],
      ]),
    );
  }

  get nodes(): { name: string; address: string; pid: number }[] {
    return [...this.#nodes.values()].map(({ wanted, child }) => ({
      name: wanted.name,
      address: wanted.address,
      pid: child.pid,
    }));
  }

  get pods(): { name: string; address: string; port: number; pid: number }[] {
    return [...this.#pods.values()].map(({ wanted, child }) => ({
      name: wanted.name,
      address: wanted.address,
      port: wanted.ports[0] ?? 0,
      pid: child.pid,
    }));
  }

  async stop(): Promise<void> {
    this.#settled = true;
    this.#stopping = true;
    await Promise.all([...this.#all()].map((child) => this.#stopOne(child)));
  }

  kill(): void {
    for (const child of this.#all()) child.kill();
  }

  *#all(): Generator<Child> {
    for (const { child } of [...this.#nodes.values(), ...this.#pods.values()]) yield child;
    yield* this.#leaving;
  }

  #reconcile<T extends { name: string }>(
    running: Map<string, { wanted: T; child: Child }>,
    wanted: readonly T[],
    start: (wanted: T) => Child,
  ): void {
    const byName = new Map(wanted.map((one) => [one.name, one]));
    for (const [name, { wanted, child }] of running) {
      if (isDeepStrictEqual(byName.get(name), wanted)) continue;
      running.delete(name);
      if (child.ended) continue;
      this.#say(`${capital(child.name)} left the YAML: it finishes what it accepted and stops.`);
      void this.#stopOne(child);
    }
    for (const one of wanted) {
      // One that moved to another port comes back there once its old self has let go: at a later call.
      if (running.has(one.name) || [...this.#leaving].some(({ name }) => name.endsWith(` ${one.name}`))) continue;
      const child = start(one);
      running.set(one.name, { wanted: one, child });
      if (this.#settled) this.#say(`${capital(child.name)} is new in the YAML: started (pid ${child.pid}).`);
    }
  }

  async #stopOne(child: Child): Promise<void> {
    this.#leaving.add(child);
    await child.stop();
    this.#leaving.delete(child);
  }

  #start(name: string, program: Program, args: string[]): Child {
    const child = new Child({
      name,
      program,
      args,
      log: this.#folder.log(name),
      onLine: (line) => this.#relay(name, line),
    });
    void this.#watch(child);
    return child;
  }

  async #watch(child: Child): Promise<void> {
    const how = await child.exited;
    if (this.#leaving.has(child)) return;
    const lastLines = `Its last lines:\n${child.lastLines()}`;
    if (!this.#settled) return this.#fail(new Error(`${capital(child.name)} ${how}. ${lastLines}`));
    this.#say(`${capital(child.name)} ${how}. It stays so; start it again with:\n  ${child.command}`);
    if (!how.startsWith("was killed")) this.#say(lastLines);
  }

  /** Bad YAML that this program found. The agents find the same, and it is said once. */
  warn(warning: string): void {
    if (this.#isNews(warning)) this.#say(warning);
  }

  /** An agent's warnings, such as bad YAML, are its user's business; several agents find the same. */
  #relay(name: string, line: string): void {
    const warning = warningOf(line);
    // Nobody needs to be warned that what stops is stopping.
    if (warning === undefined || this.#stopping) return;
    if (this.#isNews(warning)) this.#say(`${capital(name)} says: ${warning}`);
  }

  #isNews(warning: string): boolean {
    const last = this.#warnings.get(warning);
    this.#warnings.delete(warning);
    this.#warnings.set(warning, performance.now());
    for (const oldest of this.#warnings.keys()) if (this.#warnings.size > 100) this.#warnings.delete(oldest);
    return last === undefined || (this.#settled && performance.now() - last > 5_000);
  }
}

/** {"level":40,"msg":"web.yaml:3: …"} => web.yaml:3: … (pino's 40 is a warning, higher is worse). */
export function warningOf(line: string): string | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const { level, msg } = JSON.parse(line) as { level?: unknown; msg?: unknown };
    return typeof level === "number" && level >= 40 && typeof msg === "string" ? msg : undefined;
  } catch {
    return undefined;
  }
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
