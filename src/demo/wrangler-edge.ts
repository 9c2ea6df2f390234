// The edge's process: wrangler's dev server with the Worker of this repository, started by `npm start`. Settings come
// over the IPC channel, not as arguments: two of them are secrets, and `ps` shows arguments to everybody.
//
// DevEnv is what `wrangler dev` itself runs. Two of its parts are left out, for they are no part of a real edge:
// - its inspector, which `wrangler dev` cannot do without. Measured with a Worker that passes requests through, 1 KiB
//   answers, 16 connections: 853 requests a second without, 646 with (1 MiB answers: no difference);
// - its reloading proxy, a second workerd in front: it rewrites HTML, loses Content-Length, holds on to bodies of 400s
//   and to requests whose client has left. The runtime behind it is told to the supervisor, whose listener proxy dials that.
// None of this says anything of production's speed: `npm run bench` measures that.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { experimental_readRawConfig as readRawConfig, unstable_DevEnv } from "wrangler";
import { z } from "zod";
import { folder, isPacked } from "../host/process/programs.ts";
import { readAssets } from "../host/workerd/assets-folder.ts";
import type { EdgeSettings, EdgeStarted } from "./edge-settings.ts";

const reloadSchema = z.object({
  proxyData: z.object({ userWorkerUrl: z.object({ hostname: z.string(), port: z.string() }) }),
});

const edge = new unstable_DevEnv();
edge.on("error", (event: unknown) => console.error(inspect(event, { depth: 4 })));

process.once("SIGTERM", () => {
  void edge.teardown().finally(() => process.exit(0));
});

// The tether lets go of the channel; here it holds the process until the settings have come.
process.channel?.ref();
process.once("message", (settings: EdgeSettings) => {
  void serve(settings);
});

async function serve(settings: EdgeSettings): Promise<void> {
  const started = Promise.withResolvers<string>();
  edge.once("reloadComplete", (event) => started.resolve(runtimeOf(event)));
  // Before that these mean that the Worker could not be built or loaded; why has been printed.
  for (const failed of ["error", "buildFailed"]) edge.once(failed, () => started.reject());
  try {
    await edge.startWorker({
      config: configuration(settings.folder),
      bindings: {
        ...Object.fromEntries(
          Object.entries(settings.bindings).map(([name, value]) => [name, { type: "secret_text", value }]),
        ),
        // Not as static assets: wrangler would put two Workers of its own before this one.
        ASSETS: { type: "fetcher", fetcher: asset },
      },
      dev: {
        inspector: false,
        // A file that is saved half-way must not take the edge down under a running load.
        watch: false,
        persist: join(settings.folder, "state"),
        server: { hostname: "127.0.0.1", port: 0, secure: false },
        logLevel: "warn",
      },
    });
    const message: EdgeStarted = { runtime: await started.promise };
    process.send?.(message);
  } catch (error) {
    if (error !== undefined) console.error(error);
    // Its teardown would wait for the build that failed; the supervisor ends what is left of this process's group.
    process.exit(1);
  }
}

let assets: Promise<Readonly<Record<string, string>>> | undefined;

/** Read, or in a checkout bundled, when first asked for: hardly anybody lets a cluster join this edge. */
async function asset({ url }: { readonly url: string }): Promise<Response> {
  assets ??= loadAssets();
  const text = (await assets)[new URL(url).pathname];
  return new Response(text ?? null, { status: text === undefined ? 404 : 200 });
}

/** esbuild is no part of the package, which has them ready. */
async function loadAssets(): Promise<Readonly<Record<string, string>>> {
  if (isPacked) return readAssets(join(folder, "assets"));
  const { agentAssets } = await import("../host/workerd/agent-assets.ts");
  return await agentAssets(folder);
}

/** wrangler's configuration of the Worker: a file. It works beside it, so that of a package, which may be another user's, is moved. */
function configuration(own: string): string {
  const config = join(folder, "wrangler.toml");
  if (!isPacked) return config;
  const moved = join(own, "wrangler.json");
  writeFileSync(moved, JSON.stringify({ ...readRawConfig({ config }).rawConfig, main: join(folder, "worker.js") }));
  return moved;
}

function runtimeOf(event: unknown): string {
  const { hostname, port } = reloadSchema.parse(event).proxyData.userWorkerUrl;
  return `http://${hostname}:${port}`;
}
