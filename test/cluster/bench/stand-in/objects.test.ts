import ipaddr from "ipaddr.js";
import { expect, it } from "vitest";
import { clusterIp, endpointRanges, serviceRange, spareAddress } from "../places.ts";
import { clusterOf, endpointsOf } from "./objects.ts";
import { encodeBare, encodeEvent, envelope } from "./protobuf.ts";

it("makes the same cluster each time", () => {
  expect([...clusterOf(3)]).toEqual([...clusterOf(3)]);
});

it("gives each of 400,000 Services addresses of its own within the ranges, and endpoints move to others", () => {
  const [services, pods, spares] = [serviceRange, ...endpointRanges].map((range) => ipaddr.IPv4.parseCIDR(range));
  const last = 400_000 - 1;
  const ends = [clusterIp(0), clusterIp(last)].map((address) => ipaddr.IPv4.parse(address));
  for (const address of ends) expect(address.match(services ?? [address, 32])).toBe(true);
  const addresses = [...endpointsOf(0), ...endpointsOf(1), ...endpointsOf(last)];
  expect(new Set(addresses).size).toBe(30);
  for (const address of addresses) expect(ipaddr.IPv4.parse(address).match(pods as [ipaddr.IPv4, number])).toBe(true);
  for (const number of [0, 100_000]) {
    expect(ipaddr.IPv4.parse(spareAddress(number)).match(spares as [ipaddr.IPv4, number])).toBe(true);
  }
});

it("writes protobuf as its definition says", () => {
  const object = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "a" },
    spec: { ports: [{ port: 300, targetPort: 8080 }] },
  };
  // metadata (1) { name (1) }, spec (2) { ports (1) { port (3) = 300, targetPort (4) { type (1) = 0, intVal (2) = 8080 } } }
  const bare = Buffer.from([
    ...[0x0a, 3, 0x0a, 1, 0x61],
    ...[0x12, 12, 0x0a, 10, 0x18, 0xac, 2, 0x22, 5, 0x08, 0, 0x10, 0x90, 0x3f],
  ]);
  expect(encodeBare(object)).toEqual(bare);
  const event = encodeEvent("ADDED", envelope("v1", "Service", bare));
  expect(event.readUInt32BE()).toBe(event.length - 4);
});

it("refuses a field that it would have to leave out", () => {
  const object = { apiVersion: "v1", kind: "Node", metadata: { name: "a" }, spec: { taints: [] } };
  expect(() => encodeBare(object)).toThrow("Node.spec.taints");
});
