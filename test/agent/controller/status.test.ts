// Which patch a Service's status needs, if any: case by case.
import { describe, expect, it } from "vitest";
import { FINALIZER, MANAGER, type EdgeAnswer, statusPatch, type Wanted } from "../../../agent/controller/status.ts";
import type { KubeService } from "../../../agent/source/resources.ts";
import { condition, ours, parsed, programmed } from "./services.ts";

const NOW = "2026-01-31T12:00:00.000Z";
const add = { uid: "u1", finalizers: [FINALIZER] };
const remove = { uid: "u1", "$deleteFromPrimitiveList/finalizers": [FINALIZER] };
const keep = { uid: "u1" };
const gone = (type: string) => ({ $patch: "delete", type });
const dated = { lastTransitionTime: NOW };

const said = (parts: Partial<EdgeAnswer> = {}): EdgeAnswer => ({
  hostnames: ["web.test"],
  conditions: [programmed],
  ports: [{ port: 80, protocol: "TCP" }],
  ...parts,
});
const patched = (service: KubeService, wanted: Partial<Wanted>) => {
  const whole = {
    exposed: "LoadBalancer",
    answer: undefined,
    released: false,
    otherWriter: undefined,
    ...wanted,
  } as const;
  const patch = statusPatch(service, whole, NOW);
  return patch && [patch.purpose, patch.body];
};
const pending = {
  type: programmed.type,
  status: "False",
  reason: "Pending",
  message: "The edge has not taken it yet.",
  ...dated,
};
const exposed = { metadata: { annotations: { "postern.dev/expose": "true" } } };
const headless = { ...exposed, spec: { type: "ClusterIP", loadBalancerClass: undefined, clusterIP: "None" } };

describe("nothing", () => {
  it.each<[string, KubeService, Partial<Wanted>]>([
    ["all is as it should be", ours(), { answer: said() }],
    ["marked, and the edge has not answered", ours(), {}],
    [
      "without a class, with another controller's address behind ours",
      ours({ spec: { loadBalancerClass: undefined }, ingress: [{ hostname: "web.test" }, { ip: "192.0.2.1" }] }),
      { answer: said() },
    ],
    ["none of ours", parsed({}), { exposed: undefined, released: true }],
    [
      "somebody else's finalizer and status",
      parsed({ metadata: { finalizers: [FINALIZER] }, ingress: [{ ip: "192.0.2.1" }] }),
      { exposed: undefined, released: true },
    ],
    ["not ours any more, but the edge still serves it", ours(), { exposed: undefined }],
    ["deleted, but the edge still serves it", ours({ metadata: { deletionTimestamp: NOW } }), {}],
    ["headless, and the edge has not answered", parsed(headless), { exposed: "Headless" }],
    [
      "another condition is there, too",
      ours({ conditions: [condition("example.com/A"), programmed] }),
      { answer: said() },
    ],
  ])("%s", (_what, service, wanted) => {
    expect(patched(service, wanted)).toBeUndefined();
  });
});

describe("mark", () => {
  it.each<[string, KubeService, object]>([
    ["a new Service", parsed({}), { metadata: add, status: { conditions: [pending] } }],
    [
      "one that has a finalizer already: it is not sent again",
      parsed({ metadata: { finalizers: [FINALIZER] } }),
      { metadata: keep, status: { conditions: [pending] } },
    ],
    [
      "one whose finalizer was stripped: the condition stays what it is",
      ours({ metadata: { finalizers: [] } }),
      { metadata: add },
    ],
  ])("%s", (_what, service, body) => {
    expect(patched(service, {})).toEqual(["mark", body]);
  });
});

describe("write", () => {
  const ingress = [{ hostname: "web.test" }];
  const mixed = said({
    ports: [
      { port: 53, protocol: "UDP" },
      { port: 80, protocol: "TCP" },
      { port: 9999, protocol: "TCP" },
    ],
    conditions: [programmed, condition("postern.dev/PortNotOffered", { ports: [9999] })],
  });
  it.each<[string, KubeService, Partial<Wanted>, object]>([
    [
      "the first address",
      ours({ ingress: [], conditions: [{ ...programmed, status: "False", reason: "Pending" }] }),
      { answer: said() },
      { metadata: keep, status: { conditions: [{ ...programmed, ...dated }], loadBalancer: { ingress } } },
    ],
    [
      "another message: no new time, and the address is not sent",
      ours(),
      { answer: said({ conditions: [{ ...programmed, message: "Other." }] }) },
      { metadata: keep, status: { conditions: [{ ...programmed, message: "Other." }] } },
    ],
    [
      "another address: the conditions are not sent",
      ours(),
      { answer: said({ hostnames: ["web.test", "shop.test"] }) },
      { metadata: keep, status: { loadBalancer: { ingress: [{ hostname: "web.test" }, { hostname: "shop.test" }] } } },
    ],
    [
      "no address at all",
      ours(),
      { answer: said({ hostnames: [] }) },
      { metadata: keep, status: { loadBalancer: { ingress: null } } },
    ],
    [
      "conditions that hold no more, Kubernetes' own among them; others' stay",
      ours({
        conditions: [
          programmed,
          condition("postern.dev/UDPNotSupported"),
          condition("LoadBalancerPortsError"),
          condition("example.com/A"),
        ],
      }),
      { answer: said() },
      { metadata: keep, status: { conditions: [gone("postern.dev/UDPNotSupported"), gone("LoadBalancerPortsError")] } },
    ],
    [
      "errors per port, as soon as one has any",
      ours(),
      { answer: mixed },
      {
        metadata: keep,
        status: {
          conditions: [
            {
              type: "postern.dev/PortNotOffered",
              status: "True",
              reason: "PortNotOffered",
              message: expect.any(String),
              ...dated,
            },
          ],
          loadBalancer: {
            ingress: [
              {
                hostname: "web.test",
                ports: [
                  { port: 53, protocol: "UDP", error: "postern.dev/UDPNotSupported" },
                  { port: 80, protocol: "TCP", error: undefined },
                  { port: 9999, protocol: "TCP", error: "postern.dev/PortNotOffered" },
                ],
              },
            ],
          },
        },
      },
    ],
    [
      "a finalizer that was stripped",
      ours({ metadata: { finalizers: ["example.com/a"] } }),
      { answer: said() },
      { metadata: add },
    ],
    [
      "who else writes this status",
      ours({ ingress: [{ ip: "192.0.2.1" }], writers: ["k3s"] }),
      { answer: said(), otherWriter: "k3s" },
      {
        metadata: keep,
        status: {
          conditions: [
            {
              type: "postern.dev/AnotherStatusWriter",
              status: "True",
              reason: "StatusOverwritten",
              message: expect.stringContaining("k3s overwrites the status"),
              ...dated,
            },
          ],
          loadBalancer: { ingress },
        },
      },
    ],
    [
      "without a class, beside the addresses that another controller gave",
      ours({
        spec: { loadBalancerClass: undefined },
        ingress: [
          { hostname: "old.test" },
          { ip: "192.0.2.1", ipMode: "Proxy", ports: [{ port: 80, protocol: "TCP" }] },
        ],
      }),
      { answer: said() },
      {
        metadata: keep,
        status: {
          loadBalancer: {
            ingress: [...ingress, { ip: "192.0.2.1", ipMode: "Proxy", ports: [{ port: 80, protocol: "TCP" }] }],
          },
        },
      },
    ],
    [
      "conditions alone where it is no LoadBalancer",
      parsed(headless),
      { exposed: "Headless", answer: said() },
      { metadata: keep, status: { conditions: [{ ...programmed, ...dated }] } },
    ],
    [
      "and the finalizer off where it is none any more",
      ours({ ...exposed, spec: { type: "ExternalName", externalName: "a.test" }, ingress: [] }),
      { exposed: "ExternalName", answer: said() },
      { metadata: remove },
    ],
  ])("%s", (_what, service, wanted, body) => {
    expect(patched({ ...service, metadata: { ...service.metadata } }, wanted)).toEqual(["write", body]);
  });

  it.each([
    "10.0.0.1",
    "010.0.0.1",
    "*.web.test",
    "a_b.test",
    "Web.test",
    "web..test",
    "web.test.",
    "",
    `${"a".repeat(64)}.test`,
    "1.2.3",
  ])("leaves out the hostname %j, which would be a 422 for the whole patch", (hostname) => {
    const answer = said({ hostnames: [hostname, "web.test"] });
    expect(patched(ours(), { answer })).toBeUndefined();
  });
});

describe("release", () => {
  const conditions = [gone(programmed.type)];
  const released = { exposed: undefined, released: true } as const;
  it.each<[string, KubeService, Partial<Wanted>, object]>([
    [
      "a deleted one",
      ours({ metadata: { deletionTimestamp: NOW } }),
      { released: true },
      { metadata: remove, status: { conditions, loadBalancer: { ingress: null } } },
    ],
    [
      "one of another type: the API server has wiped the address",
      ours({ spec: { type: "ClusterIP", loadBalancerClass: undefined }, ingress: [] }),
      released,
      { metadata: remove, status: { conditions } },
    ],
    [
      "without the address that somebody else has written since",
      ours({ ingress: [{ ip: "192.0.2.1" }], writers: ["k3s"] }),
      released,
      { metadata: remove, status: { conditions } },
    ],
    [
      "of a Service without a class: host names alone, another controller's addresses stay",
      ours({
        spec: { loadBalancerClass: undefined },
        ingress: [{ hostname: "web.test" }, { ip: "192.0.2.1", ipMode: "VIP" }],
        writers: ["metallb", MANAGER],
      }),
      released,
      { metadata: remove, status: { conditions, loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }] } } },
    ],
    [
      "with all conditions of ours, and without a finalizer that is not there",
      ours({
        metadata: { finalizers: [] },
        conditions: [programmed, condition("LoadBalancerPortsError"), condition("example.com/A")],
      }),
      released,
      {
        metadata: keep,
        status: { conditions: [...conditions, gone("LoadBalancerPortsError")], loadBalancer: { ingress: null } },
      },
    ],
  ])("%s", (_what, service, wanted, body) => {
    expect(patched(service, wanted)).toEqual(["release", body]);
  });
});
