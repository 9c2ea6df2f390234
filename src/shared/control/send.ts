// An exchange of the control API over fetch, for programs that need no connections of their own.
import { ANSWER_MAX_BYTES, type Send } from "./client.ts";

const ANSWER_MS = 10_000;

/** fetch verifies certificates. */
export const sendByFetch: Send = async ({ method, url, headers, body, withinMs = ANSWER_MS }) => {
  const signal = AbortSignal.timeout(withinMs);
  const response = await fetch(url, { method, headers, body, redirect: "manual", signal });
  let text = "";
  let size = 0;
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_MAX_BYTES) throw new Error(`an answer of more than ${ANSWER_MAX_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    text: text + decoder.decode(),
  };
};
