// Certificates for tests, by openssl, from an authority that is made for them: sound ones, and others that a client must refuse.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export class Authority {
  readonly #folder = mkdtempSync(join(tmpdir(), "postern-ca-"));
  #made = 0;

  constructor() {
    this.#openssl("req", "-x509", ...KEY, "-days", "400", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.crt");
  }

  /** For NODE_EXTRA_CA_CERTS. */
  get file(): string {
    return join(this.#folder, "ca.crt");
  }

  get cert(): string {
    return readFileSync(this.file, "utf8");
  }

  /** Whole days from now; -1: it ended yesterday. */
  issue(name: string, days = 365): Certificate {
    const own = String(++this.#made);
    const alternative = ["-addext", `subjectAltName=DNS:${name}`];
    this.#openssl("req", ...KEY, "-subj", "/CN=test", ...alternative, "-keyout", `${own}.key`, "-out", `${own}.csr`);
    const by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-copy_extensions", "copy", "-days", String(days)];
    this.#openssl("x509", "-req", "-in", `${own}.csr`, ...by, "-out", `${own}.crt`);
    const read = (end: string): string => readFileSync(join(this.#folder, `${own}.${end}`), "utf8");
    return { key: read("key"), cert: read("crt") };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { cwd: this.#folder, stdio: ["ignore", "ignore", "pipe"] });
  }
}
