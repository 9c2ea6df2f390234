// How the commands of README.md and docs/ are run. One that is not in the table is run as it stands, and has to end with 0.
// The place is a machine of its own (play.ts) that has the address 192.168.1.10, so that addresses and names stay as they are printed.

/** Exactly one of `leftOut` and the others. */
export interface Entry {
  /** It cannot be run here: why. */
  readonly leftOut?: string;
  /** It cannot be run in this place, but another test does it. */
  readonly testedBy?: string;
  /** It runs on, and is ready when it has printed this. */
  readonly serves?: RegExp;
  /** It is run again until it succeeds: what it is about takes seconds to happen, or may not be done twice in one. */
  readonly retried?: true;
  /** It is run before: what the reader of this part has done, and the rest of the page has not. */
  readonly first?: string;
  /** Taken for what is written, where that is an example. */
  readonly replace?: readonly (readonly [written: string, here: string])[];
}

const internet = "it asks the Internet";
const kubelet = "there is no node here that runs pods, nor a shell on it";
const kernel = "it is about a node of a cluster whose kube-proxy is gone; test/cluster/proxy has such ones";
const installed = "the checkout that the tests run in is installed already; .ci/run begins with it";

export const table: Readonly<Record<string, Entry>> = {
  "npm ci": { leftOut: installed },
  "npm ci && npm test": { leftOut: `${installed}, and this test is a part of the other` },
  "npm ci && npm start": { serves: /^ {2}curl http/m, replace: [["npm ci && ", ""]] },
  "npm run edge -- --address 192.168.1.10 --domain apps.home.arpa --join home": { serves: /kubectl apply -f/ },
  "npm run edge -- --address 192.168.1.10 --domain apps.example.com --join rack": { serves: /kubectl apply -f/ },
  "postern edge --address 192.168.1.10 --domain apps.home.arpa": { serves: /Ctrl-C stops it/ },
  "postern dev": { serves: /^ {2}curl http/m },

  "npm pack": { testedBy: "test/e2e/packed.test.ts" },
  "npm install -g ./postern-0.1.0.tgz": { testedBy: "test/e2e/packed.test.ts" },
  "npm ci && npm pack && npm install -g ./postern-0.1.0.tgz": { testedBy: "test/e2e/packed.test.ts" },
  "sh agent/manifests/uninstall.sh": { testedBy: "test/cluster/tests/installation/removal.test.ts" },

  "export CLOUDFLARE_API_TOKEN=…": { replace: [["…", "token-of-cloudflare"]] },
  "postern deploy --domain example.com --admin-host postern.example.net": {
    // No certificate comes into being at Cloudflare's stand-in, and nothing answers there.
    replace: [["postern deploy", "postern deploy --timeout 0"]],
  },
  "docs/how-to-cloudflare.md: postern join home --apply": { leftOut: "the edge that it asks is Cloudflare's" },

  "kubectl -n postern-system create configmap postern-agent --from-literal=POSTERN_KUBE_API=https://192.168.1.10:6443":
    {
      // The page's sections before are about agents that serve an edge; these are of another cluster.
      first: "kubectl -n postern-system delete configmap postern-agent",
    },
  "postern join rack --apply --kube-context rack": {
    // Both contexts are one cluster here, and rack is one where no agent runs yet: the agent of home goes, once it has claimed the name.
    first: `timeout 60 sh -c 'until postern hostnames show shop.example.com; do sleep 0.2; done' && kubectl -n postern-system delete daemonset postern-agent`,
  },
  "curl http://web-default-home.apps.home.arpa/hostname": { retried: true },
  // A machine is fast enough to come to a page's second one within the same second, which kubectl refuses.
  "kubectl -n postern-system rollout restart daemonset postern-agent": { retried: true },
  "postern doctor default/web --bundle postern.tar.gz": {
    replace: [["postern.tar.gz", "postern.tar.gz && tar -tzf postern.tar.gz"]],
  },
  "npm run --silent postern -- cluster revoke home --token 25235cc9": {
    // The agent's before: of the owner's, its own and the new one it is the second.
    replace: [
      [
        "25235cc9",
        "$(postern cluster show home -o json | grep -oE '\"id\": *\"[0-9a-f]{8}' | grep -oE '[0-9a-f]{8}' | sed -n 2p)",
      ],
    ],
  },

  "npm run image": { testedBy: "test/cluster/tests/installation/origin.test.ts" },
  "npm run image -- --platform linux/arm64": {
    leftOut: "it makes a Debian system of packages from the Internet; test/ci/platform.test.ts has what it decides",
  },
  "npm run image -- --target kernel": { testedBy: "test/cluster/harness/cluster.ts" },
  "npm run image -- --target kernel --platform linux/arm64": {
    leftOut: "it makes a Debian system of packages from the Internet; test/ci/platform.test.ts has what it decides",
  },
  "postern logs home": { testedBy: "test/e2e/cli.test.ts" },
  "sudo ctr -n k8s.io images import postern-agent.tar": { leftOut: kubelet },
  "sudo k3s ctr images import postern-agent.tar": { leftOut: "there is no k3s" },
  "kind load image-archive postern-agent.tar": { leftOut: "there is no kind" },
  "curl -sfL https://get.k3s.io | sh -s - --disable servicelb": { leftOut: internet },
  "sudo k3s kubectl get nodes": { leftOut: "there is no k3s" },

  "kubectl -n kube-system get configmap kubeadm-config -o yaml | sed 's/^    proxy: {}$/    proxy: {disabled: true}/' | kubectl apply -f -":
    {
      // As kubeadm 1.37 writes it.
      first: `kubectl -n kube-system create configmap kubeadm-config --from-literal=ClusterConfiguration=$'apiServer: {}\\napiVersion: kubeadm.k8s.io/v1beta4\\nproxy: {}\\nscheduler: {}\\n'`,
    },
  "kubectl -n kube-system get configmap kube-proxy -o jsonpath='{.data.config\\.conf}' >config.conf": {
    first: `kubectl -n kube-system create configmap kube-proxy --from-literal=config.conf=$'kind: KubeProxyConfiguration\\nmode: ""\\n'`,
  },
  "curl -s http://127.0.0.1:10256/healthz": { leftOut: kernel },
  "curl -s http://127.0.0.1:10249/proxyMode": { leftOut: kernel },
  "kubeadm init phase addon kube-proxy --config …": { leftOut: "there is no kubeadm" },
  "kubectl -n kube-system rollout status daemonset kube-proxy": { leftOut: kernel },
  "kubectl debug node/NODE --profile=netadmin --image=localhost/postern-agent-kernel:0.1.0 -- node /agent/main.mjs cleanup":
    { leftOut: kubelet },
};

const edge = "npm run edge -- --address 192.168.1.10 --domain apps.home.arpa --join home";
const login = "npm run --silent postern -- login http://192.168.1.10:8787 --token-file .postern/edge/admin-token";
const joined = [edge, login, "npm run --silent postern -- join home --apply"];
const deployment = "kubectl create deployment web --image=nginx";

/** What the reader of a page has done before he comes to it. */
export const before: Readonly<Record<string, readonly string[]>> = {
  "docs/doctor.md": [
    ...[...joined, deployment, "postern expose deployment/web --port 80"],
    "kubectl get service web -o yaml > web.yaml",
  ],
  "docs/how-to-clusters.md": [
    ...["postern edge --address 192.168.1.10 --domain apps.home.arpa", login, deployment],
    `kubectl expose deployment web --type LoadBalancer --port 80 --overrides '{"spec": {"loadBalancerClass": "postern.dev/edge"}}'`,
  ],
  "docs/how-to-tokens.md": joined,
  "docs/how-to-upgrade.md": joined,
};

export const entryOf = (document: string, key: string): Entry => table[`${document}: ${key}`] ?? table[key] ?? {};
