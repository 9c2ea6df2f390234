// One connection, and how it went. It is reset afterwards: a port in TIME_WAIT for each of a hundred thousand would be in the
// way of the next ones.
import { connect } from "node:net";

export interface Asked {
  /** False: refused, unreachable, or nothing within the time. */
  readonly answered: boolean;
  /** From the first packet to the connection, µs. */
  readonly tookUs: number;
  /** Which endpoint it was; asked for only with `listen`. */
  readonly endpoint: string | undefined;
}

export function ask(address: string, port: number, { withinMs, listen = false }: AskOptions): Promise<Asked> {
  return new Promise((resolve) => {
    const started = process.hrtime.bigint();
    let tookUs = Number.NaN;
    const socket = connect({ host: address, port, noDelay: true });
    const finish = (answered: boolean, endpoint?: string): void => {
      clearTimeout(timer);
      socket.resetAndDestroy();
      resolve({ answered, tookUs, endpoint });
    };
    const timer = setTimeout(() => finish(false), withinMs);
    socket.on("connect", () => {
      tookUs = Number(process.hrtime.bigint() - started) / 1000;
      if (!listen) finish(true);
    });
    socket.on("data", (chunk: Buffer) => finish(true, chunk.toString().trim()));
    socket.on("error", () => finish(false));
  });
}

export interface AskOptions {
  readonly withinMs: number;
  readonly listen?: boolean;
}
