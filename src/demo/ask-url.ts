// Asks a URL of a listener once, as a browser on this machine would.
import { request } from "undici";
import { judgeAnswer, type UrlAnswer } from "./readiness.ts";

/** A URL has so long to answer. */
const ANSWER_MS = 5_000;

export async function askUrl(url: string): Promise<UrlAnswer> {
  const { host, port } = new URL(url);
  try {
    // Not every resolver knows *.localhost, so it is dialled by address.
    const { statusCode, headers, body } = await request(`http://127.0.0.1:${port || 80}/`, {
      headers: { host },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const reason = headers["x-postern-reason"];
    if (typeof reason === "string") return judgeAnswer(statusCode, reason, await body.text());
    // Perhaps a stream without end. Ended early it says so, which is nobody's error here.
    body.on("error", () => {}).destroy();
    return judgeAnswer(statusCode, undefined, "");
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}
