// `npm start`. `postern dev` is the same, without npm.
import { npmRun } from "../host/command-line.ts";
import { start } from "./start.ts";

await start(process.argv.slice(2), npmRun("npm start"));
