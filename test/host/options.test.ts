// The command line of `npm run edge`.
import { expect, it } from "vitest";
import { npmRun } from "../../src/host/command-line.ts";
import { helpFor, parseOptions } from "../../src/host/options.ts";

it("serves this machine alone by default", () => {
  expect(parseOptions([])).toMatchObject({
    addresses: ["127.0.0.1", "::1"],
    domain: "localhost",
    port: 8787,
    trustedProxies: [],
    directLoopback: false,
    refuse: "answer",
    json: false,
  });
});

it("takes all that its help lists", () => {
  const args = ["--address", "10.0.0.1", "--address", "fd00::1", "--domain", "apps.home.arpa", "--port", "9000"];
  args.push("--state", "/var/lib/edge", "--join", "home", "--refuse", "reset", "--json");
  args.push("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "fd00::/64", "--direct-loopback");
  args.push("--listener-ports", "80,8000-9999", "--public-url", "https://postern.example.net/");
  expect(parseOptions(args)).toEqual({
    addresses: ["10.0.0.1", "fd00::1"],
    domain: "apps.home.arpa",
    port: 9000,
    state: "/var/lib/edge",
    join: "home",
    refuse: "reset",
    json: true,
    trustedProxies: ["127.0.0.1", "fd00::/64"],
    directLoopback: true,
    listenerPorts: [
      [80, 80],
      [8000, 8999],
      [9001, 9999],
    ],
    publicUrl: "https://postern.example.net",
  });
  const help = helpFor(npmRun("npm run edge"));
  for (const arg of args.filter((each) => each.startsWith("--"))) expect(help).toContain(arg);
  expect(help).toContain("npm run edge -- --address");
  expect(parseOptions(["--help"])).toBe("help");
});

it.each([
  [["--address", "router.lan"], "--address must be an IP address"],
  [["--port", "0"], "--port must be a number"],
  [["--port", "x"], "--port must be a number"],
  [["--domain", "Apps.Home"], "--domain must be a DNS name"],
  [["--domain", "a."], "--domain must be a DNS name"],
  [["--refuse", "drop"], "--refuse must be answer or reset"],
  [["--listen", "x"], "--listen"],
  [["--listener-ports", "http"], "--listener-ports must be ports and ranges of them, such as 80,"],
  [["--listener-ports", "0-80"], "--listener-ports must be"],
  [["--listener-ports", "8787"], "--listener-ports names no port but 8787"],
  [["--trusted-proxy", "10/8"], "--trusted-proxy must be the address or network"],
  [["--trusted-proxy", "0.0.0.0/0"], "--trusted-proxy must be the address or network"],
  [["--trusted-proxy", "proxy.lan"], "--trusted-proxy must be the address or network"],
  [["--public-url", "postern.example.net"], "--public-url must be a URL"],
  [["--public-url", "http://a/b"], "--public-url must be a URL without a path"],
  [["--public-url", "http://u:p@a"], "--public-url must be a URL"],
  [["--public-url", "https://a"], "--public-url with https needs --trusted-proxy"],
  [["--address", "0.0.0.0"], "give --public-url too"],
  [["--address", "::"], "give --public-url too"],
])("%j is refused in words", (args, words) => {
  expect(parseOptions(args)).toMatchObject({ wrong: expect.stringContaining(words) });
});
