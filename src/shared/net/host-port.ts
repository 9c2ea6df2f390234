// A host and its port as URLs and Host headers write them: an IPv6 address stands in brackets. Pure.

/** "10.1.2.3", "[fd00::1]", "node-a" */
export const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);

/** The reverse: "[fd00::1]" is fd00::1. */
export const unbracketed = (host: string): string => host.replace(/^\[|\]$/g, "");

/** "10.1.2.3:80", "[fd00::1]:80", "node-a:80" */
export const hostPort = (host: string, port: number | string): string => `${bracketed(host)}:${port}`;
