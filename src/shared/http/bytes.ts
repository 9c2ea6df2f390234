// Header values as bytes. HTTP allows any byte from 0x80 on in a field value and gives it no meaning (obs-text, RFC 9110
// §5.5), so Postern passes them on as they came. In the tunnel's heads, and between the listener proxy and the Worker, such
// a value is a *byte string*: one character U+0000 to U+00FF for each byte, which is how Node.js reads and writes heads
// ("latin1"). workerd's Headers are another thing: text, decoded from UTF-8, in which bytes that are no UTF-8 are lost.

/** True where every character is ASCII: then byte string, text and bytes are the same. Most values are. */
export const isAscii = (value: string): boolean => !beyondAscii.test(value);

// Asked of every header value, and faster than a loop.
const beyondAscii = /[^\0-\x7f]/;

/** True where each character stands for one byte. */
export function isByteString(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0xff) return false;
  return true;
}

const encoder = new TextEncoder();
// A byte order mark is content.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The UTF-8 bytes of `text`: "天" => "\xe5\xa4\xa9". */
export function bytesOfText(text: string): string {
  if (isAscii(text)) return text;
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** The text that these bytes are in UTF-8; undefined where they are none, or `bytes` is no byte string. */
export function textOfBytes(bytes: string): string | undefined {
  if (isAscii(bytes)) return bytes;
  const raw = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    if (byte > 0xff) return undefined;
    raw[i] = byte;
  }
  try {
    return decoder.decode(raw);
  } catch {
    return undefined;
  }
}
