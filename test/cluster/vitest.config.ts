// The tests that need a real Kubernetes, `npm run test:cluster`: one after the other, since they drain and restart what
// all of them use. globalSetup.ts brings the cluster up.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    name: "cluster",
    root: new URL("../..", import.meta.url).pathname,
    include: ["test/cluster/tests/**/*.test.ts"],
    globalSetup: ["test/cluster/globalSetup.ts"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
  },
});
