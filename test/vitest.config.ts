// Four projects. node: pure code and the agent; workerd: *.worker.test.ts inside the real runtime; e2e: the program as its
// user starts it; conformance: the same, against clients and servers that are odd or hostile (both are slow: `npm test` runs
// them, `npm run check` does not).
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { assetsOf } from "../src/host/workerd/agent-assets.ts";

const root = new URL("..", import.meta.url).pathname;

/** In place of an agent: two texts under the SHA-256 of "agent" and "probe". */
const files: Readonly<Record<string, string>> = assetsOf({ "main.mjs": "agent", "probe.mjs": "probe" }, "1.2.3");
function assets({ url }: { readonly url: string }): Response {
  const text = files[new URL(url).pathname];
  return new Response(text ?? null, { status: text === undefined ? 404 : 200 });
}

/** A busy machine is no failure: what a test waits for is an event, this only ends what hangs. */
const patience = {
  testTimeout: 60_000,
  hookTimeout: 60_000,
  expect: { poll: { timeout: 10_000 } },
  setupFiles: ["test/patience.ts"],
};

export default defineConfig({
  test: {
    projects: [
      {
        root,
        test: {
          name: "node",
          include: ["test/**/*.test.ts"],
          exclude: [
            "test/**/*.worker.test.ts",
            "test/e2e/**",
            "test/conformance/**",
            "test/bench/**",
            "test/cluster/tests/**",
          ],
          ...patience,
        },
      },
      {
        root,
        plugins: [
          cloudflareTest({
            wrangler: { configPath: `${root}wrangler.toml` },
            miniflare: {
              bindings: {
                // SHA-256 of "test-admin-token"
                ADMIN_TOKEN_SHA256: "17d6bfe05d1b1fb7bc499f8e3f639c7b3eda4c40f321eef8887a0c04c89a99c5",
                ADMIN_HOST: "admin.test",
                EDGE_DOMAIN: "edge.test",
                FORWARDER_SECRET: "test-forwarder-secret",
                DIRECT_ADDRESSES: "any",
              },
              serviceBindings: { ASSETS: assets },
            },
          }),
        ],
        test: { name: "workerd", include: ["test/**/*.worker.test.ts"], ...patience },
      },
      {
        root,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        root,
        test: {
          name: "conformance",
          include: ["test/conformance/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          // Rows mostly wait.
          maxConcurrency: 16,
        },
      },
    ],
  },
});
