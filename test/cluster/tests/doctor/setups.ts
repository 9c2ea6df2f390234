// The set-ups that are broken, each in a namespace of its own, and those that are sound: what is put there, and what the doctor must say.
import { edge } from "../../harness/places.ts";
import { script, service, slice, web } from "./objects.ts";

export interface Setup {
  /** Also names its namespace. */
  readonly name: string;
  readonly objects: readonly object[];
  /** All ids of errors and warnings, sorted. Empty: it is sound. */
  readonly finds: readonly string[];
  /** In what is seen, for one of them. */
  readonly says?: RegExp;
  readonly object?: string;
  /** Where the fault is of the network: pods of this namespace get no packets from these nodes. */
  readonly dropOn?: readonly ("n1" | "n2" | "n3")[];
}

export const namespaceOf = (name: string): string => `doctor-${name}`;
const denyAll = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "default-deny" },
  spec: { podSelector: {}, policyTypes: ["Ingress"] },
};
/** The kubelet asks from the node, so that it would be dropped as well; network plugins let it through. */
const unasked = { container: { readinessProbe: undefined } };
/** Made by the test: a key and a certificate of nobody's. */
export const TLS_SECRET = "tls-of-nobody";
const tlsServer = {
  container: {
    args: ["netexec", "--http-port=8080", "--tls-cert-file=/tls/tls.crt", "--tls-private-key-file=/tls/tls.key"],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
    volumeMounts: [{ name: "tls", mountPath: "/tls" }],
  },
  pod: {},
};
const tlsVolume = [{ name: "tls", secret: { secretName: TLS_SECRET } }];

export const broken: readonly Setup[] = [
  {
    name: "selector-typo",
    objects: [web(), service({ selector: { app: "wbe" } })],
    finds: ["selector-matches-nothing"],
    says: /the nearest is Deployment web, which has app=web instead of app=wbe/,
  },
  {
    name: "selector-key",
    objects: [web({ labels: { "app.kubernetes.io/name": "web" } }), service()],
    finds: ["selector-matches-nothing"],
    says: /has app.kubernetes.io\/name=web instead of app=web/,
  },
  {
    name: "selector-elsewhere",
    objects: [service({ selector: { elsewhere: "yes" } })],
    finds: ["selector-elsewhere"],
    says: /but in doctor-hand-slice/,
  },
  {
    name: "target-number",
    objects: [web(), service({ ports: [{ port: 80, targetPort: 9999 }] })],
    finds: ["target-port-refused"],
    says: /no container lists that port, but 8080/,
  },
  {
    name: "loopback-only",
    objects: [web({ container: script("exec nc -l -k 127.0.0.1 8080") }), service()],
    finds: ["target-port-refused"],
    says: /127\.0\.0\.1 only/,
  },
  {
    name: "target-name",
    objects: [web(), service({ ports: [{ port: 80, targetPort: "htpp" }] })],
    finds: ["target-port-name-missing"],
    says: /the containers' are http/,
  },
  {
    name: "readiness",
    objects: [
      web({ container: { readinessProbe: { exec: { command: ["sh", "-c", "echo the database is away; exit 1"] } } } }),
      service(),
    ],
    finds: ["readiness-failing"],
    says: /it says: the database is away/,
  },
  {
    name: "crash",
    objects: [web({ container: script("exit 3") }), service()],
    finds: ["crash-looping"],
    says: /exit code 3/,
  },
  {
    name: "image",
    objects: [web({ container: { image: "registry.invalid/web:1", imagePullPolicy: "IfNotPresent" } }), service()],
    finds: ["image-not-pulled"],
    says: /registry.invalid\/web:1/,
  },
  {
    name: "unschedulable",
    objects: [web({ pod: { nodeSelector: { "doctor.test/there": "not" } } }), service()],
    finds: ["not-scheduled"],
    says: /0\/3 nodes are available/,
  },
  {
    name: "secret",
    objects: [web({ container: { envFrom: [{ secretRef: { name: "not-there" } }] } }), service()],
    finds: ["container-not-started"],
    says: /secret "not-there" not found/,
  },
  {
    name: "quota",
    objects: [
      { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "none" }, spec: { hard: { pods: "0" } } },
      web(),
      service(),
    ],
    finds: ["pods-not-made"],
    says: /exceeded quota: none/,
  },
  {
    name: "source-range",
    objects: [web(), service({ loadBalancerSourceRanges: ["192.0.2.0/24"] })],
    finds: ["source-refuses-you"],
    says: /it admits 192.0.2.0\/24/,
  },
  {
    name: "policy",
    objects: [web({ replicas: 2, ...unasked }), denyAll, service()],
    dropOn: ["n1", "n2", "n3"],
    finds: ["network-policy"],
    says: /NetworkPolicy default-deny admits no node/,
  },
  {
    name: "firewall",
    objects: [web({ replicas: 2, ...unasked }), service()],
    dropOn: ["n2"],
    finds: ["node-cannot-dial"],
    object: "Node n2",
    says: /which other nodes reach/,
  },
  {
    name: "class-slip",
    objects: [web(), service({ loadBalancerClass: "postern.dev/egde" })],
    finds: ["class-foreign"],
    says: /postern.dev\/edge is Postern's/,
  },
  {
    name: "class-other",
    objects: [web(), service({ loadBalancerClass: "example.com/other" }, { "postern.dev/transport": "tunnel" })],
    finds: ["class-foreign"],
    says: /loadBalancerClass: example.com\/other/,
  },
  {
    name: "port-443",
    objects: [web(), service({ ports: [{ port: 443, targetPort: 8080 }] })],
    finds: ["port-not-offered"],
    says: /nothing listens on port 443/,
  },
  {
    name: "declared-tls",
    objects: [web(), service({ ports: [{ port: 80, targetPort: 8080, appProtocol: "https" }] })],
    finds: ["protocol-declared"],
    says: /appProtocol https/,
  },
  {
    name: "tls-server",
    objects: [web({ ...tlsServer, pod: { volumes: tlsVolume } }), service()],
    finds: ["protocol-differs"],
    says: /HTTP request to an HTTPS server/,
  },
  {
    name: "no-http",
    objects: [
      web({
        container: {
          args: ["serve-hostname", "--tcp", "--http=false", "--port=8080"],
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
        },
      }),
      service(),
    ],
    finds: ["protocol-differs"],
    says: /502 endpoint-broke/,
  },
  {
    name: "name-conflict",
    // The older one keeps its default name, whoever asks for it.
    objects: [
      web(),
      service({}, {}, { name: "aaa" }),
      service({}, { "postern.dev/hostname": `aaa-${namespaceOf("name-conflict")}-${edge.cluster}.${edge.domain}` }),
    ],
    finds: ["hostname-conflict"],
    says: /another Service's default name/,
  },
  {
    name: "name-refused",
    objects: [web(), service({}, { "postern.dev/hostname": "shop.example.com" })],
    finds: ["hostname-not-allowed"],
    says: /shop.example.com/,
  },
  {
    name: "value",
    objects: [web(), service({}, { "postern.dev/algorithm": "fastest" })],
    finds: ["annotation-ignored"],
    says: /"fastest" is not usable/,
  },
  {
    name: "annotation",
    objects: [web(), service({}, { "postern.dev/algoritm": "weighted" })],
    finds: ["annotation-unknown"],
    says: /postern.dev\/algorithm is the nearest/,
  },
  {
    name: "udp",
    objects: [web(), service({ ports: [{ port: 53, targetPort: 8080, protocol: "UDP" }] })],
    finds: ["protocol-not-carried"],
    says: /UDP port 53/,
  },
  {
    name: "no-selector",
    objects: [service({ selector: undefined })],
    finds: ["selector-missing"],
  },
  {
    name: "hand-slice",
    objects: [web({ labels: { elsewhere: "yes" } }), service({ selector: undefined }), slice("10.90.0.77")],
    finds: ["endpoint-unreachable"],
    says: /10.90.0.77:8080/,
  },
  {
    name: "local-ghost",
    objects: [service({ selector: undefined, externalTrafficPolicy: "Local" }), slice("10.90.0.77", "ghost")],
    finds: ["local-policy-no-pods"],
    says: /pods are on ghost/,
  },
  {
    name: "headless",
    objects: [
      web(),
      service(
        { type: "ClusterIP", clusterIP: "None", loadBalancerClass: undefined },
        { "postern.dev/ports": "80:8080" },
      ),
    ],
    finds: ["type-not-exposed"],
  },
  {
    name: "external-name",
    objects: [
      service(
        {
          type: "ExternalName",
          loadBalancerClass: undefined,
          selector: undefined,
          ports: undefined,
          externalName: "nas.example.com",
        },
        { "postern.dev/expose": "true", "postern.dev/ports": "80" },
      ),
    ],
    finds: ["external-name-refused"],
    says: /nas.example.com/,
  },
  {
    name: "held",
    objects: [web(), service({}, {}, { finalizers: ["doctor.test/hold"] })],
    finds: ["being-deleted"],
    says: /held by .*doctor.test\/hold/,
  },
  {
    name: "two-faults",
    objects: [web(), service({ selector: { app: "wbe" }, ports: [{ port: 443, targetPort: 8080 }] })],
    finds: ["port-not-offered", "selector-matches-nothing"],
  },
];

export const sound: readonly Setup[] = [
  { name: "healthy", objects: [web({ replicas: 2 }), service()], finds: [] },
  { name: "zero", objects: [web({ replicas: 0 }), service()], finds: [] },
  { name: "other-class", objects: [web(), service({ loadBalancerClass: "example.com/other" })], finds: [] },
  { name: "local", objects: [web(), service({ externalTrafficPolicy: "Local" })], finds: [] },
];
