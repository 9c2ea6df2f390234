// A look at the JSON text of a snapshot before it is parsed: a text of few bytes may become a tree that takes a parser, or
// whoever judges the tree, seconds and gigabytes, and meanwhile nobody else is served. One pass over the text, without a
// tree; it knows nothing of snapshots but how wide and deep they are. Whether the text is JSON at all is the parser's to say.

/** A snapshot of any size that the limits of src/shared/model/snapshot.ts allow stays below all of these. */
const DEPTH_MAX = 12;
const CONTAINERS_MAX = 300_000;
const VALUES_MAX = 1_000_000;
const FIELDS_MAX = 256;
const ITEMS_MAX = 10_000;
/** In lists within the items of a Service's lists, such as an endpoint's zones. */
const INNER_ITEMS_MAX = 512;
const INNER_DEPTH = 5;
/** Each new name of a field costs the parser far more than one that it has seen. Port numbers are no such names. */
const NAMES_MAX = 256;
const PORT = /^\d{1,5}$/;

/** Why this text must not be parsed, in words; undefined: it may be. */
export function scanJson(text: string): string | undefined {
  let depth = 0;
  let containers = 0;
  let values = 0;
  /** For each open container: whether it is an object, and how many commas it has had. */
  const isObject = new Uint8Array(DEPTH_MAX + 1);
  const commas = new Uint32Array(DEPTH_MAX + 1);
  const names = new Set<string>();
  let string = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        string = at;
        at = endOfString(text, at);
        break;
      case 0x3a: {
        // What stands before a colon, and perhaps a space, is a name.
        const name = text.slice(string + 1, at - 1);
        if (!names.has(name) && !PORT.test(name) && names.add(name).size > NAMES_MAX)
          return `its fields have more than ${NAMES_MAX} names`;
        break;
      }
      case 0x7b: // {
      case 0x5b: // [
        if (++depth > DEPTH_MAX) return `it is nested more than ${DEPTH_MAX} deep`;
        if (++containers > CONTAINERS_MAX) return `it has more than ${CONTAINERS_MAX} objects and lists`;
        isObject[depth] = text.charCodeAt(at) === 0x7b ? 1 : 0;
        commas[depth] = 0;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth = Math.max(0, depth - 1);
        break;
      case 0x2c: {
        // ,
        if (++values > VALUES_MAX) return `it has more than ${VALUES_MAX} values`;
        const count = ((commas[depth] as number) += 1);
        const object = isObject[depth] === 1;
        const max = object ? FIELDS_MAX : depth < INNER_DEPTH ? ITEMS_MAX : INNER_ITEMS_MAX;
        if (count >= max) return object ? `an object has more than ${max} fields` : `a list has more than ${max} items`;
        break;
      }
    }
  }
  return undefined;
}

/** Of the closing quote: the first before which stands an even number of backslashes. The text's length where there is none. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let before = quote;
    while (text.charCodeAt(before - 1) === 0x5c) before--;
    if ((quote - before) % 2 === 0) return quote;
  }
  return text.length;
}
