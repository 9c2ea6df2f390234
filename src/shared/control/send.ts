// An exchange of the control API over fetch, for programs that need no connections of their own.
import { ANSWER_MAX_BYTES, type Send } from "./client.ts";

const ANSWER_MS = 10_000;

/** fetch verifies certificates. */
export const sendByFetch: Send = async ({ method, url, headers, body, withinMs = ANSWER_MS, stream }) => {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${withinMs / 1000} s`)), withinMs);
  const signal = stream === undefined ? late.signal : AbortSignal.any([late.signal, stream.signal]);
  try {
    const response = await fetch(url, { method, headers, body, redirect: "manual", signal });
    const onText = response.status === 200 ? stream?.onText : undefined;
    if (onText !== undefined) clearTimeout(timer);
    let text = "";
    let size = 0;
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      const piece = decoder.decode(chunk, { stream: true });
      if (onText !== undefined) {
        onText(piece);
        continue;
      }
      size += chunk.length;
      if (size > ANSWER_MAX_BYTES) throw new Error(`an answer of more than ${ANSWER_MAX_BYTES} bytes`);
      text += piece;
    }
    return {
      status: response.status,
      header: (name) => response.headers.get(name) ?? undefined,
      text: text + decoder.decode(),
    };
  } finally {
    clearTimeout(timer);
  }
};
