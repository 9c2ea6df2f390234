// What kubelet runs in the pod as its exec probe: asks the agent on its own Unix socket. Two agents share a node's address
// during an upgrade, so a TCP probe could be answered by the other one. A program of its own, because it starts every few
// seconds: it loads nothing but node:http. Exit code 0 for a 200; else what was answered is on stdout, for the pod's events.
import { request } from "node:http";

/** Below the probes' own timeout, so that this one's message is what is seen. */
const TIMEOUT_MS = 4_000;

const [socketPath, path] = process.argv.slice(2);
if (socketPath === undefined || path === undefined) {
  process.stdout.write("usage: probe <socket> /livez|/readyz|/healthz\n");
  process.exit(2);
}
const failed = (why: string) => {
  process.stdout.write(`${why}\n`);
  process.exit(1);
};
request({ socketPath, path, timeout: TIMEOUT_MS }, (response) => {
  if (response.statusCode === 200) process.exit(0);
  response.setEncoding("utf8");
  response.once("data", (body: string) => failed(`${path}: ${response.statusCode} ${body}`));
  response.once("end", () => failed(`${path}: ${response.statusCode}`));
})
  .on("timeout", () => failed(`${path}: no answer within ${TIMEOUT_MS} ms`))
  .on("error", (error) => failed(`${path}: ${error.message}`))
  .end();
