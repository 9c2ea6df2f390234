// The edge's process: wrangler's dev server with the Worker of this repository, started by `npm start`. Settings come
// over the IPC channel, not as arguments: two of them are secrets, and `ps` shows arguments to everybody.
//
// startWorker is what `wrangler dev` itself runs; here without its inspector, which cannot be switched off there.
// Measured with a Worker that passes requests through, 1 KiB answers, 16 connections: 853 requests a second without,
// 646 with (1 MiB answers: no difference). It says nothing of production's speed: `npm run bench` measures that.
import { fileURLToPath } from "node:url";
import { unstable_startWorker } from "wrangler";
import type { EdgeSettings } from "./edge-settings.ts";

process.once("message", (settings: EdgeSettings) => {
  void serve(settings);
});

async function serve(settings: EdgeSettings): Promise<void> {
  const worker = await unstable_startWorker({
    config: fileURLToPath(new URL("../../wrangler.toml", import.meta.url)),
    bindings: Object.fromEntries(
      Object.entries(settings.bindings).map(([name, value]) => [name, { type: "secret_text", value }]),
    ),
    dev: {
      inspector: false,
      // A file that is saved half-way must not take the edge down under a running load.
      watch: false,
      persist: settings.state,
      server: { hostname: "127.0.0.1", port: settings.port, secure: false },
      logLevel: "warn",
    },
  });
  process.once("SIGTERM", () => {
    void worker.dispose().finally(() => process.exit(0));
  });
  await worker.ready;
  process.send?.({ ready: true });
}
