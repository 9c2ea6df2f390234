import { expect, it } from "vitest";
import { ignoredProxy } from "../../agent/ignored-proxy.ts";

const proxy = "http://user:secret@proxy.lan:3128";
it.each<[string, Record<string, string>, string | undefined]>([
  ["https://edge.example.com", {}, undefined],
  ["https://edge.example.com", { HTTPS_PROXY: proxy }, "HTTPS_PROXY"],
  ["https://edge.example.com", { https_proxy: proxy }, "https_proxy"],
  ["https://edge.example.com", { ALL_PROXY: proxy }, "ALL_PROXY"],
  ["https://edge.example.com", { HTTPS_PROXY: "" }, undefined],
  ["https://edge.example.com", { HTTP_PROXY: proxy }, undefined],
  ["http://192.168.1.10:8787", { HTTP_PROXY: proxy }, "HTTP_PROXY"],
  ["http://192.168.1.10:8787", { HTTP_PROXY: proxy, NO_PROXY: "localhost, 192.168.1.10" }, undefined],
  ["https://edge.example.com", { HTTPS_PROXY: proxy, NO_PROXY: ".example.com" }, undefined],
  ["https://edge.example.com", { HTTPS_PROXY: proxy, no_proxy: "Example.COM:443" }, undefined],
  ["https://edge.example.com", { HTTPS_PROXY: proxy, no_proxy: "*" }, undefined],
  ["https://edge.example.com", { HTTPS_PROXY: proxy, no_proxy: "ample.com" }, "HTTPS_PROXY"],
])("%s with %j: %s", (edge, environment, expected) => {
  expect(ignoredProxy(new URL(edge), environment)).toBe(expected);
});
