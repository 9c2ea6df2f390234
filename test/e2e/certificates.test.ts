// An edge of one's own behind a proxy that ends TLS with a certificate that no client can accept, and `postern doctor` asked from outside.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { Authority, type Certificate } from "../cli/doctor/certificates.ts";
import { Emulation } from "./emulation.ts";

const command = new URL("../../cli/main.ts", import.meta.url).pathname;
const reportSchema = z.object({
  findings: z.array(z.object({ id: z.string(), severity: z.string(), object: z.string(), seen: z.string() })),
});

let emulation: Emulation;
let authority: Authority;
let folder: string;
beforeAll(async () => {
  authority = new Authority();
  folder = mkdtempSync(join(tmpdir(), "postern-certificates-"));
  // No cluster is asked, whatever this machine's kubectl knows.
  writeFileSync(join(folder, "kubectl"), "#!/bin/sh\necho no cluster >&2; exit 1\n", { mode: 0o755 });
  emulation = await Emulation.start();
});
afterAll(async () => {
  await emulation.stop();
  authority.remove();
  rmSync(folder, { recursive: true });
});

/** In front of the edge's API. */
async function proxied(certificate: Certificate): Promise<Server> {
  const { hostname, port, host } = new URL(emulation.ready.api.url);
  const server = createServer({ ...certificate }, (asked, answer) => {
    const { method = "GET", url: path = "/", headers } = asked;
    const to = request({ hostname, port, method, path, headers: { ...headers, host } }, (from) => {
      answer.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(answer);
    });
    to.on("error", () => answer.destroy());
    asked.pipe(to);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Errors, "id: what was seen". */
async function errorsBehind(certificate: Certificate): Promise<{ url: string; errors: string[]; objects: string[] }> {
  const server = await proxied(certificate);
  try {
    const url = `https://localhost:${(server.address() as AddressInfo).port}`;
    const env = {
      PATH: `${folder}:${process.env["PATH"]}`,
      HOME: folder,
      NODE_EXTRA_CA_CERTS: authority.file,
      POSTERN_EDGE: url,
      POSTERN_TOKEN: readFileSync(emulation.ready.api.tokenFile, "utf8").trim(),
      POSTERN_CLUSTER: "home",
    };
    const stdout = await new Promise<string>((resolve) =>
      execFile(process.execPath, [command, "doctor", "default/web", "-o", "json"], { env }, (_, said) => resolve(said)),
    );
    const { findings } = reportSchema.parse(JSON.parse(stdout));
    const errors = findings.filter(({ severity }) => severity === "error");
    return { url, errors: errors.map(({ id, seen }) => `${id}: ${seen}`), objects: errors.map(({ object }) => object) };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test("a certificate that is well is no error", async () => {
  expect((await errorsBehind(authority.issue("localhost"))).errors).toEqual([]);
});

test.each<[what: string, certificate: () => Certificate, says: RegExp]>([
  ["ended yesterday", () => authority.issue("localhost", -1), /^certificate-invalid: .*: certificate has expired$/],
  ["is another name's", () => authority.issue("other.test"), /^certificate-invalid: .*altnames: DNS:other\.test/],
  [
    "is of an authority that this machine does not know",
    () => {
      const stranger = new Authority();
      const issued = stranger.issue("localhost");
      stranger.remove();
      return issued;
    },
    /^certificate-invalid: .*: unable to verify the first certificate/,
  ],
])("a certificate that %s is named for what it is", async (_, certificate, says) => {
  const { url, errors, objects } = await errorsBehind(certificate());
  expect(errors).toEqual([expect.stringMatching(says)]);
  expect(objects).toEqual([`Edge ${url}`]);
});
