// Run before each test file of the projects node and workerd: vi.waitFor and vi.waitUntil wait as long as expect.poll does by
// vitest.config.ts. Their own default is a second, which a busy machine may spend on anything, and Vitest has no setting for it.
import { vi } from "vitest";

const { waitFor, waitUntil } = vi;
const patient = (options?: Parameters<typeof waitFor>[1]) =>
  typeof options === "number" ? options : { timeout: 10_000, ...options };
vi.waitFor = (check, options) => waitFor(check, patient(options));
vi.waitUntil = (check, options) => waitUntil(check, patient(options));
