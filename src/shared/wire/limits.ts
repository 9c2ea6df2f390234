// Every number of the tunnel protocol, with its unit and who obeys it. README.md explains the choices.

/** Newest first. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

/** Bytes of one WebSocket message; a longer one is a violation. */
export const MESSAGE_MAX = 1024 * 1024;
/** Payload bytes of DATA, TEXT and BINARY frames. */
export const DATA_MAX = 64 * 1024;
/** Payload bytes of OPEN, HEAD and the JSON frames of stream 0. */
export const HEAD_MAX = 256 * 1024;
/** Bytes of one WebSocket message carried for a client, over all its frames. */
export const WEBSOCKET_MESSAGE_MAX = 16 * 1024 * 1024;
/** Bytes of the answer to a probe. Its asker resets a stream that brings more. */
export const PROBE_MAX = 16 * 1024;
/** UTF-8 bytes of a RESET's reason. */
export const REASON_MAX = 256;
/** UTF-8 bytes of a CLOSE's reason, as RFC 6455 has it. */
export const CLOSE_REASON_MAX = 123;

/** Credit of a new stream, each way. */
export const STREAM_WINDOW = 64 * 1024;
/** Most that a stream whose reader keeps up may be granted. */
export const STREAM_WINDOW_MAX = 512 * 1024;
/** Least that any stream is granted, however much others hold. */
export const STREAM_WINDOW_MIN = 16 * 1024;
/** Credit of a connection, each way. Three quarters of it, past which slow readers lose streams, must hold the largest message. */
export const CONNECTION_WINDOW = 24 * 1024 * 1024;
/** Credit that a TEXT or BINARY frame costs beside its payload: about what a small message costs its holder's memory. */
export const MESSAGE_COST = 64;
/** Bytes that all sessions of one object, or agent, may hold unconsumed. */
export const BUDGET = 32 * 1024 * 1024;
/** Streams open at once on one connection. */
export const STREAMS_MAX = 8192;
/** Connection frames and RESETs that wait to be sent; a peer that provokes more, and reads none, is cut off. */
export const CONTROL_MAX = 4 * STREAMS_MAX;
/** The id space of one connection; past it the connection is renewed. */
export const STREAM_ID_MAX = 0x7fff_ffff;
/** Ids reserved with each saved state, so that an attachment is written once in that many streams. */
export const STREAM_ID_BLOCK = 1024;

/** A sender stops taking from its session while its socket has this much buffered. */
export const SOCKET_BUFFER_MAX = 256 * 1024;
/** A producer pauses while its stream has this much queued. */
export const STREAM_QUEUE_MAX = 128 * 1024;

/** Seconds: between the agent's text pings; until it misses a pong; until the edge misses the next ping. */
export const PING_SECONDS = 10;
export const PONG_PATIENCE_SECONDS = 15;
export const SILENT_SECONDS = 25;
/** Milliseconds of silence before PING, and again before the node is suspect. */
export const SUSPECT_MS = 500;
/**
 * Work that a peer may cause without being asked for it, in units of about a microsecond: the burst, and what comes back each
 * second, of one connection; all connections of an object together have twice as much. A peer that causes more is cut off.
 */
export const WORK_BURST = 50_000;
export const WORK_PER_SECOND = 400_000;
/**
 * What is such work: each such frame is WORK_FRAME units, a message that begins with one is WORK_MESSAGE more, and each WORK_BYTES
 * bytes of a connection frame's payload are one more.
 */
export const WORK_FRAME = 1;
export const WORK_MESSAGE = 20;
export const WORK_BYTES = 16;
/** Bytes of body or message below which a frame counts as such work, unless it ends its stream. */
export const TINY = 256;
/** How many GOAWAYs one side may send: it may give another reason, but not for ever. */
export const GOAWAYS_MAX = 8;

/** Sockets of one token at one shard: 5,000 nodes, four connections each; and of all tokens together. */
export const SOCKETS_PER_TOKEN = 20_000;
export const SOCKETS_PER_SHARD = 24_000;
/** Sockets of one token that have not said HELLO, and ms after which one of them is closed. */
export const STRANGERS_PER_TOKEN = 256;
export const STRANGER_MS = 10_000;
/** Connections of one node that a shard keeps; the oldest goes. */
export const CONNECTIONS_PER_NODE = 4;

/** WebSocket close codes of the tunnel's own socket. */
export const CLOSE_VIOLATION = 4000;
/** Redialling with this token is pointless. */
export const CLOSE_REVOKED = 4001;
/** A newer connection of the same agent process took over. */
export const CLOSE_REPLACED = 4002;
export const CLOSE_SILENT = 4003;
/** The connection's stream ids are used up: dial again. RFC 6455's "service restart". */
export const CLOSE_RENEW = 1012;
