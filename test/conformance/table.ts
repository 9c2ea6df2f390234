// The whole table, and who plays it: the programs, the servers behind them, and the plain answers beside.
import { answerRows } from "./answers.ts";
import { Backend } from "./backend.ts";
import { type Door, type EdgeProgram, type Program, startEdge, startNpm, type Service } from "./programs.ts";
import { requestRows, uploadRows } from "./requests.ts";
import { expectationOf, type Mode, modes, notAsked, type Outcome, play, type Row } from "./row.ts";
import { upgradeRows } from "./upgrades.ts";

// The slow ones first: they wait while others run.
const slow = (row: Row) => (row.withinMs ?? 0) > 12_000;
const all = [...requestRows, ...upgradeRows, ...answerRows];
/** Uploads are last, and one after the other: each is 20 MB by five ways. */
export const rows: readonly Row[] = [...all.filter(slow), ...all.filter((row) => !slow(row)), ...uploadRows];
export const uploadsFrom = all.length;

const BACKENDS = ["127.52.0.1", "127.52.0.2"];

export class Stage {
  readonly backend: Backend;
  readonly start: Program;
  readonly edge: EdgeProgram;

  private constructor(backend: Backend, start: Program, edge: EdgeProgram) {
    this.backend = backend;
    this.start = start;
    this.edge = edge;
  }

  static async build(): Promise<Stage> {
    const backend = new Backend();
    await backend.listen(BACKENDS);
    const endpoints = { addresses: BACKENDS, port: backend.port };
    const services: Service[] = [
      { name: "tun", transport: "tunnel", endpoints },
      { name: "dir", transport: "direct", endpoints },
    ];
    const started = await Promise.allSettled([startNpm(services), startEdge(services, { address: "127.50.0.1" })]);
    const [start, edge] = started;
    if (start.status === "fulfilled" && edge.status === "fulfilled") return new Stage(backend, start.value, edge.value);
    backend.close();
    await Promise.all(started.map(async (each) => (each.status === "fulfilled" ? each.value.stop() : undefined)));
    throw start.status === "rejected" ? start.reason : (edge as PromiseRejectedResult).reason;
  }

  door(mode: Mode): Door {
    const [program, transport] = mode.split("/");
    return (program === "start" ? this.start : this.edge).door(transport === "tunnel" ? "tun" : "dir");
  }

  async play(row: Row, index: number, mode: Mode): Promise<Outcome> {
    return play(row, index, mode, this.door(mode), this.backend, expectationOf(row, mode).closes === true);
  }

  async plain(row: Row, index: number): Promise<Outcome> {
    if (modes.every((mode) => expectationOf(row, mode).alone === true)) return notAsked;
    const [host = ""] = BACKENDS;
    const door = { host, port: this.backend.port, authority: `${host}:${this.backend.port}` };
    return play(row, index, "plain", door, this.backend, row.expect.closes === true);
  }

  /** What became of a row: the plain answer, and each way's. */
  async outcomes(row: Row, index: number): Promise<{ plain: Outcome; ours: ReadonlyMap<Mode, Outcome> }> {
    if (row.backend !== undefined) this.backend.on(String(index), row.backend);
    const [plain, ...ours] = await Promise.all([
      this.plain(row, index),
      ...modes.map(async (mode) => this.play(row, index, mode)),
    ]);
    return { plain, ours: new Map(modes.map((mode, i) => [mode, ours[i] as Outcome])) };
  }

  async stop(): Promise<void> {
    await Promise.all([this.start.stop(), this.edge.stop()]);
    this.backend.close();
  }
}
