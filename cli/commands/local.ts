// `postern dev` and `postern edge`: an edge on this machine, by the programs of `npm start` and `npm run edge`, in this process.
import type { Command } from "commander";
import { helpFor as demoHelp, optionTypes as demoOptions } from "../../src/demo/options.ts";
import { directly } from "../../src/host/command-line.ts";
import { helpFor as edgeHelp, optionTypes as edgeOptions } from "../../src/host/options.ts";
import { PassedOn } from "../passed-on.ts";
import { type Effects, Session } from "../session.ts";

export function addLocal(program: Command, effects: Effects): void {
  const add = (name: "dev" | "edge", description: string, help: string, options: object): void => {
    const command = new PassedOn(name, { description, help, options: Object.keys(options) });
    program.addCommand(command);
    command.action(async () => {
      const { format } = new Session(effects, command);
      await effects.startHere(name, [...command.args, ...(format === "json" ? ["--json"] : [])]);
    });
  };
  add(
    "dev",
    "all of it on this machine, to try out: an edge, nodes and demo pods",
    demoHelp(directly("postern dev")),
    demoOptions,
  );
  add(
    "edge",
    "an edge on this machine, for a LAN or behind a TLS proxy",
    edgeHelp(directly("postern edge")),
    edgeOptions,
  );
}
