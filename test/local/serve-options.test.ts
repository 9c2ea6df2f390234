// The command line of `npm run edge`.
import { expect, it } from "vitest";
import { help, parseOptions } from "../../src/local/serve/options.ts";

it("serves this machine alone by default", () => {
  expect(parseOptions([])).toMatchObject({
    addresses: ["127.0.0.1", "::1"],
    domain: "localhost",
    port: 8787,
    refuse: "answer",
    json: false,
  });
});

it("takes all that its help lists", () => {
  const args = ["--address", "10.0.0.1", "--address", "fd00::1", "--domain", "apps.home.arpa", "--port", "9000"];
  args.push("--state", "/var/lib/edge", "--join", "home", "--refuse", "reset", "--json");
  expect(parseOptions(args)).toEqual({
    addresses: ["10.0.0.1", "fd00::1"],
    domain: "apps.home.arpa",
    port: 9000,
    state: "/var/lib/edge",
    join: "home",
    refuse: "reset",
    json: true,
  });
  for (const arg of args.filter((each) => each.startsWith("--"))) expect(help).toContain(arg);
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
])("%j is refused in words", (args, words) => {
  expect(parseOptions(args)).toMatchObject({ wrong: expect.stringContaining(words) });
});
