// An exchange of the control API over node:http and node:https, for programs of this machine. Not over fetch(), which refuses ports that
// browsers refuse (6000, 10080 …), at which an edge may be.
import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { ANSWER_MAX_BYTES, type Outgoing, type Send, type Streaming } from "../shared/control/client.ts";

const ANSWER_MS = 10_000;

/** Certificates are verified, redirects are not followed. */
export const sendByHttp: Send = async ({ withinMs = ANSWER_MS, stream, ...outgoing }) => {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException("no answer in time", "TimeoutError")), withinMs);
  const signal = stream === undefined ? late.signal : AbortSignal.any([late.signal, stream.signal]);
  try {
    const answer = await answerTo(outgoing, signal);
    const isStreamed = stream !== undefined && answer.statusCode === 200;
    if (isStreamed) clearTimeout(timer);
    const text = isStreamed ? await handedOver(answer, stream) : await textOf(answer);
    const header = (name: string): string | undefined => [answer.headers[name]].flat()[0];
    return { status: answer.statusCode ?? 0, header, text };
  } catch (error) {
    // An answer that is given up in its middle only says that it was reset.
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
};

async function handedOver(answer: IncomingMessage, { onText }: Streaming): Promise<""> {
  for await (const piece of answer.setEncoding("utf8") as AsyncIterable<string>) onText(piece);
  return "";
}

function answerTo({ method, url, headers, body }: Outgoing, signal: AbortSignal): Promise<IncomingMessage> {
  const request = url.protocol === "https:" ? requestTls : requestPlain;
  return new Promise((resolve, reject) => {
    request(url, { method, headers: { ...headers, "accept-encoding": "identity" }, signal }, resolve)
      .on("error", reject)
      .end(body ?? undefined);
  });
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > ANSWER_MAX_BYTES) throw new Error(`an answer of more than ${ANSWER_MAX_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}
