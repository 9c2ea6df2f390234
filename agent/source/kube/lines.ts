// A watch's bytes → its lines. Bounded: a line longer than the limit ends the stream with an error, so that neither a broken
// API server nor something else behind its address fills our memory.
export class LineTooLong extends Error {}

export async function* lines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  /** Of the line that is not complete yet. */
  let parts: string[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      if (size + end - start > maxBytes) throw new LineTooLong();
      parts.push(decoder.decode(chunk.subarray(start, end), { stream: true }));
      const line = parts.join("");
      if (line.trim() !== "") yield line;
      [parts, size, start] = [[], 0, end + 1];
    }
    size += chunk.length - start;
    if (size > maxBytes) throw new LineTooLong();
    if (start < chunk.length) parts.push(decoder.decode(chunk.subarray(start), { stream: true }));
  }
  // What is left was cut in the middle: it is no line.
}
