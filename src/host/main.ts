// `npm run edge`. `postern edge` is the same, without npm.
import { npmRun } from "./command-line.ts";
import { serve } from "./serve.ts";

await serve(process.argv.slice(2), npmRun("npm run edge"));
