// Kubelet runs this program in the pod as its exec probe. It asks the agent on its Unix socket, because two agents share a node's
// address during an upgrade, and a TCP probe could be answered by the other one. It starts every few seconds, so it loads nothing
// but node:http. Its exit code is 0 for a 200. Otherwise it prints the answer to stdout, for the pod's events.
import { request } from "node:http";

/** Below kubelet's own timeout, so that the pod's events show this program's message. */
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
