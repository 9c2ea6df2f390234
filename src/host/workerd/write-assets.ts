// A program: `wrangler deploy` runs it before it uploads (wrangler.toml), with the folder of the assets as its argument. A folder
// that was deployed from before goes on to hold what the versions before handed out.
import { fileURLToPath } from "node:url";
import { agentAssets } from "./agent-assets.ts";
import { keepAssets } from "./assets-folder.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: write-assets <folder>");
keepAssets(folder, await agentAssets(fileURLToPath(new URL("../../..", import.meta.url))));
