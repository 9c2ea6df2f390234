// appProtocol against what Postern speaks to pods: what is served in silence, and what its owner is told.
import { describe, expect, it } from "vitest";
import { buildSnapshot } from "../../../agent/plan/snapshot.ts";
import { endpoint, service, slice, type Written } from "../source/objects.ts";
import { observe } from "./observe.ts";

const conditions = (...objects: readonly Written[]) =>
  buildSnapshot(observe(...objects), {
    defaultClass: false,
    allowExternalName: ["lan"],
    clusterDomain: "cluster.local",
    ignoreExcludeLabel: false,
    endpointAlgorithms: ["random"],
  }).services[0]?.conditions;
const web = (...ports: readonly object[]) => service("web", { ports });
const pods = (...ports: readonly object[]) => slice("web", [endpoint("10.0.1.1")], { ports });
const ofService = (appProtocol: unknown) => conditions(web({ port: 80, appProtocol }), pods({ port: 8080 }));

describe("appProtocol", () => {
  it.each([undefined, null, "", "http", "HTTP", "ws", "kubernetes.io/ws", "grpc-web"])(
    "%s is served",
    (appProtocol) => {
      expect(ofService(appProtocol)).toEqual([]);
    },
  );

  it.each([
    ["https", /speak TLS, .*point targetPort there and write appProtocol: http$/],
    ["HTTPS", /speak TLS/],
    ["tls", /speak TLS/],
    ["wss", /speak TLS/],
    ["kubernetes.io/wss", /speak TLS/],
    ["kubernetes.io/h2c", /speak HTTP\/2, .*gRPC does not pass, plain requests do where the server takes HTTP\/1.1/],
    ["http2", /speak HTTP\/2/],
    ["grpc", /speak HTTP\/2/],
    ["tcp", /none that Postern knows/],
    ["postgresql", /none that Postern knows/],
    ["example.com/mine", /none that Postern knows/],
  ])("%s is told, for its port alone", (appProtocol, message) => {
    expect(ofService(appProtocol)).toEqual([
      {
        type: "postern.dev/ProtocolNotSupported",
        status: "True",
        reason: "AppProtocol",
        message: expect.stringMatching(message),
        ports: [80],
      },
    ]);
  });

  it("of several ports is one condition that names each", () => {
    const names = ["a", "b", "c"];
    const found = conditions(
      web(
        { name: "a", port: 80, appProtocol: "http" },
        { name: "b", port: 81, appProtocol: "https" },
        { name: "c", port: 82, appProtocol: "kubernetes.io/h2c" },
      ),
      pods(...names.map((name) => ({ name, port: 8080 }))),
    );
    expect(found).toMatchObject([
      { ports: [81, 82], message: expect.stringMatching(/^port 81 \("b"\): .*port 82 \("c"\): /) },
    ]);
  });

  it("is the slice's where the Service does not say, and the Service's where both do", () => {
    const bySlice = (own?: string) =>
      conditions(
        web({ port: 80, ...(own === undefined ? {} : { appProtocol: own }) }),
        pods({ port: 8080, appProtocol: "https" }),
      );
    expect(bySlice()).toMatchObject([{ type: "postern.dev/ProtocolNotSupported", ports: [80] }]);
    expect(bySlice("http")).toEqual([]);
  });

  it("of a UDP port is nobody's business", () => {
    expect(
      conditions(web({ port: 53, protocol: "UDP", appProtocol: "dns" }), pods({ port: 53, protocol: "UDP" })),
    ).toEqual([]);
  });

  it("of an ExternalName counts, too", () => {
    const spec = {
      type: "ExternalName",
      externalName: "nas.lan",
      clusterIP: null,
      ports: [{ port: 443, appProtocol: "https" }],
    };
    const nas = service("web", spec, { annotations: { "postern.dev/expose": "true" } });
    expect(conditions(nas)).toMatchObject([{ type: "postern.dev/ProtocolNotSupported", ports: [443] }]);
  });
});
