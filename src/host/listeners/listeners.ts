// The listener ports: opened and closed live as the edge's table has them, on 127.0.0.1 and ::1 or where told. Owns the listening
// sockets and the two exceptions: a port that another program holds, and one that needs rights we lack. A closed
// listener finishes what it accepted. Nothing survives.
import { once } from "node:events";
import type { Server } from "node:http";
import type { ListenerProxy } from "../proxy/listener-proxy.ts";

type Say = (line: string) => void;

interface Opened {
  readonly at: number;
  readonly servers: readonly Server[];
}

export interface ListenersOptions {
  /** Addresses of this machine; one that it lacks is passed over if it is not the first. */
  readonly hosts?: readonly string[];
  /** Whether a port that needs no rights may stand in for one that does (80 opened as 8080). */
  readonly mayStandIn?: (port: number) => boolean;
}

export class Listeners {
  readonly #proxy: ListenerProxy;
  readonly #say: Say;
  readonly #hosts: readonly string[];
  readonly #mayStandIn: (port: number) => boolean;
  readonly #open = new Map<number, Opened>();
  /** Ports that could not be opened, so that each is told once; tried again at every reconcile. */
  readonly #troubled = new Set<number>();

  constructor(
    proxy: ListenerProxy,
    say: Say,
    { hosts = ["127.0.0.1", "::1"], mayStandIn = () => true }: ListenersOptions = {},
  ) {
    this.#proxy = proxy;
    this.#say = say;
    this.#hosts = hosts;
    this.#mayStandIn = mayStandIn;
  }

  /** Opens what is missing, closes what is left over. One call at a time. */
  async reconcile(wanted: ReadonlySet<number>): Promise<void> {
    for (const [port, { at, servers }] of this.#open) {
      if (wanted.has(port)) continue;
      this.#open.delete(port);
      for (const server of servers) server.close();
      this.#say(`Port ${at} is closed: no Service has it any more.`);
    }
    for (const port of this.#troubled) if (!wanted.has(port)) this.#troubled.delete(port);
    for (const port of wanted) if (!this.#open.has(port)) await this.#openPort(port, wanted);
  }

  /** Service ports that are open. */
  get open(): ReadonlySet<number> {
    return new Set(this.#open.keys());
  }

  /** Where a Service port is open on this machine: itself, but where it was remapped. */
  at(port: number): number | undefined {
    return this.#open.get(port)?.at;
  }

  close(): void {
    for (const { servers } of this.#open.values())
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    this.#open.clear();
  }

  async #openPort(port: number, wanted: ReadonlySet<number>): Promise<void> {
    let at = port;
    let outcome = await this.#listen(port, at);
    const standIn = port + 8000;
    if (outcome === "EACCES" && port < 1024 && this.#mayStandIn(standIn) && !wanted.has(standIn)) {
      at = standIn;
      outcome = await this.#listen(port, at);
    }
    if (typeof outcome !== "string") {
      this.#open.set(port, { at, servers: outcome });
      this.#troubled.delete(port);
      this.#say(
        at === port ? `Port ${port} is open.` : `Port ${port} needs rights that this user lacks: it is open as ${at}.`,
      );
      return;
    }
    if (this.#troubled.has(port)) return;
    this.#troubled.add(port);
    this.#say(this.#whyClosed(port, at, outcome));
  }

  #whyClosed(port: number, at: number, code: string): string {
    const then = "so its Service cannot be reached";
    for (const [other, opened] of this.#open)
      if (opened.at === at)
        return `Port ${port} cannot be opened, ${then}: port ${at} stands in for port ${other}, which needs rights that this user lacks.`;
    if (code === "EADDRINUSE")
      return (
        `Port ${at} is in use by another program, ${then}. Stop that program ` +
        `(find it with: ss -ltnp 'sport = :${at}') or change the Service's port; it is tried again every second.`
      );
    if (code === "EACCES")
      return (
        `Port ${port} needs rights that this user lacks, ${then}. Change the Service's port, or allow it ` +
        `(as root: sysctl net.ipv4.ip_unprivileged_port_start=${port}); it is tried again every second.`
      );
    return `Port ${at} cannot be opened (${code}), ${then}; it is tried again every second.`;
  }

  /** Servers on all addresses, or the error's code. A machine without IPv6 has one. */
  async #listen(port: number, at: number): Promise<Server[] | string> {
    const servers: Server[] = [];
    for (const host of this.#hosts) {
      const server = this.#proxy.server(port);
      server.listen(at, host);
      try {
        await once(server, "listening");
        // One connection that could not be accepted (no file left for it) is that client's trouble.
        server.on("error", () => {});
        servers.push(server);
      } catch (error) {
        const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
        if (servers.length > 0 && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT")) continue;
        for (const open of servers) open.close();
        return code;
      }
    }
    return servers;
  }
}
