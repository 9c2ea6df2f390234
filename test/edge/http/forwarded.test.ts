import { expect, test } from "vitest";
import { clientAcceptEncoding, forwarded, targetOf } from "../../../src/edge/http/forwarded.ts";

const platform = { "cf-connecting-ip": "203.0.113.5" };
const proxy = { "x-postern-forwarder": "s3cret", "x-postern-client": "127.0.0.1" };

test.each<[string, Record<string, string>, string | undefined, string | undefined]>([
  ["production: the platform says it", platform, undefined, "203.0.113.5"],
  ["production: nobody says it", {}, undefined, ""],
  ["production: a client that plays the listener proxy", { ...platform, ...proxy }, undefined, "203.0.113.5"],
  ["own edge: the listener proxy says it", proxy, "s3cret", "127.0.0.1"],
  ["own edge: the listener proxy beats what the client claims", { ...platform, ...proxy }, "s3cret", "127.0.0.1"],
  ["own edge: the listener proxy does not say it", { "x-postern-forwarder": "s3cret" }, "s3cret", ""],
  ["own edge: no secret shown", platform, "s3cret", undefined],
  ["own edge: wrong secret", { ...proxy, "x-postern-forwarder": "s3cre7" }, "s3cret", undefined],
  ["own edge: the secret's beginning", { ...proxy, "x-postern-forwarder": "s3c" }, "s3cret", undefined],
  ["own edge: the secret and more", { ...proxy, "x-postern-forwarder": "s3cret!" }, "s3cret", undefined],
  ["own edge: an empty secret is no secret", { ...proxy, "x-postern-forwarder": "" }, "", undefined],
])("%s", (_name, headers, secret, client) => {
  expect(forwarded({ headers: new Headers(headers), url: "http://shop.test/" }, secret)?.client).toBe(client);
});

/** What the platform puts in the place of the client's own. */
const replaced = { "accept-encoding": "gzip, br" };

test.each<[string, object | undefined, Record<string, string>, string | undefined, string | undefined]>([
  ["production: the platform keeps what it replaced", { clientAcceptEncoding: "zstd" }, replaced, undefined, "zstd"],
  ["production: the client sent an empty one", { clientAcceptEncoding: "" }, replaced, undefined, ""],
  ["production: nothing was replaced", {}, replaced, undefined, undefined],
  ["production: no header, so nobody asks", { clientAcceptEncoding: "br" }, {}, undefined, undefined],
  ["production: no facts of the platform", undefined, {}, undefined, undefined],
  [
    "production: a client that plays the listener proxy",
    {},
    { "x-postern-accept-encoding": "br" },
    undefined,
    undefined,
  ],
  ["own edge: the listener proxy says it", {}, { "x-postern-accept-encoding": "br" }, "s3cret", "br"],
  ["own edge: the client sent none", {}, { "x-postern-accept-encoding": "-" }, "s3cret", ""],
  ["own edge: no listener proxy in between", { clientAcceptEncoding: "br" }, {}, "s3cret", undefined],
])("Accept-Encoding, %s", (_name, cf, headers, secret, expected) => {
  expect(clientAcceptEncoding({ headers: new Headers(headers), cf }, secret)).toBe(expected);
});

test("by which door: the proxy says it, else the URL", () => {
  const by = (headers: Record<string, string>, url = "http://shop.test/") =>
    forwarded({ headers: new Headers({ ...proxy, ...headers }), url }, "s3cret");
  expect(by({ "x-postern-port": "8080" })).toMatchObject({ port: 8080, scheme: "http", again: false, trusted: false });
  expect(by({ "x-postern-port": "admin", "x-postern-proto": "https" })).toMatchObject({
    port: "admin",
    scheme: "https",
  });
  expect(by({ "x-postern-again": "1", "x-postern-trusted": "1" })).toMatchObject({ again: true, trusted: true });
  const onCloudflare = forwarded({ headers: new Headers({ "x-postern-port": "admin" }), url: "https://shop.test/" });
  expect(onCloudflare).toMatchObject({ port: undefined, scheme: "https" });
});

test("the target is the proxy's where it says one, else the URL's", () => {
  const at = (headers: Record<string, string>, secret?: string) =>
    targetOf({ headers: new Headers(headers), url: "http://shop.test/b?c" }, secret);
  expect(at({ "x-postern-target": "/a/../b?c" }, "s3cret")).toBe("/a/../b?c");
  expect(at({}, "s3cret")).toBe("/b?c");
  expect(at({ "x-postern-target": "/forged" })).toBe("/b?c");
});
