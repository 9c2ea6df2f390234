// The objects of objects.ts as Kubernetes' protobuf, which kube-proxy asks for and a real API server gives it: JSON would
// cost it processor time that it does not spend in a cluster. Pure. A field that the tables below do not know is an
// error, so that nothing is silently left out.

/** How a value is written: as itself, or as a message with these fields. */
type Kind = "string" | "integer" | "boolean" | "time" | "strings" | "intOrString" | Message;
type Message = { readonly [field: string]: readonly [number: number, kind: Kind] };

const owned: Message = {
  name: [1, "string"],
  namespace: [3, "string"],
  uid: [5, "string"],
  resourceVersion: [6, "string"],
  creationTimestamp: [8, "time"],
  labels: [11, "strings"],
  annotations: [12, "strings"],
};
const listMetadata: Message = {
  resourceVersion: [2, "string"],
  continue: [3, "string"],
  remainingItemCount: [4, "integer"],
};

const messages: Readonly<Record<string, Message>> = {
  Service: {
    metadata: [1, owned],
    spec: [
      2,
      {
        ports: [
          1,
          {
            name: [1, "string"],
            protocol: [2, "string"],
            port: [3, "integer"],
            targetPort: [4, "intOrString"],
          },
        ],
        selector: [2, "strings"],
        clusterIP: [3, "string"],
        type: [4, "string"],
        sessionAffinity: [7, "string"],
        ipFamilyPolicy: [17, "string"],
        clusterIPs: [18, "string"],
        ipFamilies: [19, "string"],
        internalTrafficPolicy: [22, "string"],
      },
    ],
    status: [3, { loadBalancer: [1, {}] }],
  },
  EndpointSlice: {
    metadata: [1, owned],
    endpoints: [
      2,
      {
        addresses: [1, "string"],
        conditions: [2, { ready: [1, "boolean"], serving: [2, "boolean"], terminating: [3, "boolean"] }],
        targetRef: [4, { kind: [1, "string"], namespace: [2, "string"], name: [3, "string"], uid: [4, "string"] }],
        nodeName: [6, "string"],
      },
    ],
    ports: [3, { name: [1, "string"], protocol: [2, "string"], port: [3, "integer"] }],
    addressType: [4, "string"],
  },
  Node: {
    metadata: [1, owned],
    spec: [2, {}],
    status: [
      3,
      {
        conditions: [4, { type: [1, "string"], status: [2, "string"], reason: [5, "string"], message: [6, "string"] }],
        addresses: [5, { type: [1, "string"], address: [2, "string"] }],
      },
    ],
  },
  ServiceCIDR: { metadata: [1, owned], spec: [2, { cidrs: [1, "string"] }] },
  Status: {
    metadata: [1, listMetadata],
    status: [2, "string"],
    message: [3, "string"],
    reason: [4, "string"],
    code: [6, "integer"],
  },
};

export interface Typed {
  readonly apiVersion: string;
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** The object's own bytes, as items of a list are. */
export function encodeBare({ apiVersion: _apiVersion, kind, ...fields }: Typed): Buffer {
  const message = messages[kind];
  if (message === undefined) throw new Error(`no protobuf is known for ${kind}`);
  return Buffer.from(encode(fields, message, kind), "latin1");
}

/** A whole body: it names itself. */
export function encodeEnvelope(object: Typed): Buffer {
  return envelope(object.apiVersion, object.kind, encodeBare(object));
}

export function envelope(apiVersion: string, kind: string, bare: Buffer): Buffer {
  const head = `k8s\0${bytes(1, text(1, apiVersion) + text(2, kind))}${prefix(2, bare.length)}`;
  // Neither compressed nor of another content type.
  return Buffer.concat([Buffer.from(head, "latin1"), bare, Buffer.from(text(3, "") + text(4, ""), "latin1")]);
}

/** A whole list out of items that are encoded already. */
export function encodeList(apiVersion: string, kind: string, metadata: object, items: readonly Buffer[]): Buffer {
  const head = Buffer.from(bytes(1, encode(metadata, listMetadata, "ListMeta")), "latin1");
  const each = items.flatMap((item) => [Buffer.from(prefix(2, item.length), "latin1"), item]);
  return envelope(apiVersion, kind, Buffer.concat([head, ...each]));
}

/** One event of a watch, with the length before it by which the reader finds the next one. */
export function encodeEvent(type: string, object: Buffer): Buffer {
  const inner = prefix(1, object.length);
  const head = Buffer.from(text(1, type) + prefix(2, inner.length + object.length) + inner, "latin1");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length + object.length);
  return Buffer.concat([length, head, object]);
}

// Below, bytes are strings of characters up to 255, since these are put together far faster than buffers.

function encode(value: object, message: Message, path: string): string {
  let result = "";
  for (const [name, content] of Object.entries(value)) {
    if (content === undefined) continue;
    const field = message[name];
    if (field === undefined) throw new Error(`${path}.${name} has no field number in protobuf.ts`);
    const [number, kind] = field;
    const inner = typeof kind === "string" ? path : `${path}.${name}`;
    for (const each of Array.isArray(content) ? (content as unknown[]) : [content]) {
      result += encodeValue(number, kind, each, inner);
    }
  }
  return result;
}

function encodeValue(number: number, kind: Kind, value: unknown, path: string): string {
  switch (kind) {
    case "string":
      return text(number, value as string);
    case "integer":
      return integer(number, value as number);
    case "boolean":
      return integer(number, value === true ? 1 : 0);
    case "time":
      return bytes(number, integer(1, Date.parse(value as string) / 1000));
    case "intOrString":
      return bytes(number, integer(1, 0) + integer(2, value as number));
    case "strings":
      return Object.entries(value as Record<string, string>)
        .map(([key, each]) => bytes(number, text(1, key) + text(2, each)))
        .join("");
    default:
      return bytes(number, encode(value as object, kind, path));
  }
}

const text = (number: number, value: string): string =>
  bytes(number, isAscii.test(value) ? value : Buffer.from(value).toString("latin1"));
const bytes = (number: number, value: string): string => prefix(number, value.length) + value;
const prefix = (number: number, length: number): string => varint(number * 8 + 2) + varint(length);
const integer = (number: number, value: number): string => varint(number * 8) + varint(value);
const isAscii = /^[\0-\x7f]*$/;

/** Not negative. */
function varint(value: number): string {
  let result = "";
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return result + String.fromCharCode(rest);
    result += String.fromCharCode((rest % 128) + 128);
  }
}
