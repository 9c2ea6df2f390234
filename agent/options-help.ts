// What `node agent/main.ts --help` prints.
export const help = `The Postern agent: runs on every node, dials out to the edge and serves what comes back.

Usage: node agent/main.ts --edge <url> --cluster <name> --token-file <file> [options]
       node agent/main.ts --proxy all [options]     in kube-proxy's place, with or without an edge
       node agent/main.ts cleanup                   takes away the rules that it left on this node

  --edge <url>                  The edge's admin host, such as https://postern.example.com
  --cluster <name>              The cluster's name at the edge
  --token-file <file>           File with the cluster's token; read again when the edge refuses it
  --source kube|files           Where the cluster is read from (default: kube in a pod without --manifests, else files)
  --manifests <folder>          files: Services, EndpointSlices and Nodes as YAML, watched live
  --kubeconfig <file>           kube: how to reach the API server (default: the pod's service account)
  --kube-api <urls>             kube: the API server's own address, as the pod's service account: https://192.168.1.10:6443,
                                or one of each control plane with commas between, tried in turn. With --proxy all the
                                address inside the cluster does not work before the agent has made it work
  --instance <id>               kube: who this agent is among others, its pod's UID (default: random)
  --node <name>                 This node's name in Kubernetes (default: the machine's host name)
  --address <ip>                This node's own address, where NodePorts are opened (with --proxy userspace)
  --proxy none|userspace|all    none: leave the node's Services to kube-proxy (default); userspace: open NodePorts here, for
                                the demo; all: do kube-proxy's work in the kernel, where no kube-proxy runs. Only then
                                may --edge, --cluster and --token-file be left out
  --default-class               Serve LoadBalancer Services without a class, too
  --force-default-class         The same beside MetalLB, k3s' ServiceLB or another controller that serves them
  --allow-external-name <list>  Name suffixes and CIDRs that exposed ExternalNames may use: lan,192.168.1.0/24. Addresses
                                of nodes, pods, Services and the API server, and special ones such as loopback, only
                                where listed one by one: 192.168.1.2/32
  --ignore-exclude-label        Use nodes that kubeadm excludes from load balancers (clusters of one node)
  --direct-address-type <type>  Where an edge inside your network reaches the NodePorts of nodes that do not say so by
                                annotation postern.dev/direct-address: InternalIP, ExternalIP, InternalDNS, ExternalDNS
                                or Hostname (default: not at all; transport direct needs it)
  --cluster-domain <name>       Domain of the cluster's own names (default: cluster.local)
  --health-address <ip:port>    Serve /healthz, /readyz and /metrics here (default: off)
  --health-socket <path>        Serve the same on a Unix socket, for the probes of Kubernetes (default: off)
  --insecure-plain-http         Allow http:// to loopback and private addresses (development)
  --log-level <level>           fatal, error, warn, info, debug or trace (default: info)
  --help                        This text

With --proxy all:
  --proxy-mode <mode>           nftables, iptables or ipvs (default: nftables from kernel 5.13 and nft 1.0.1, else iptables)
  --kube-proxy-config <file>    A KubeProxyConfiguration, as kube-proxy has it; flags win, and what is not used is named
  --cluster-cidr <cidrs>        Where pods have their addresses: 10.244.0.0/16,fd00:10:244::/48. What comes from elsewhere
                                to a ClusterIP is masqueraded (default: nothing is known of it)
  --proxy-health-address <a>    Serve kube-proxy's /healthz and /livez here (default: 0.0.0.0:10256)
  --proxy-metrics-address <a>   Serve its /metrics and /proxyMode here (default: 127.0.0.1:10249)

Each option may be given as an environment variable: POSTERN_TOKEN_FILE=/run/token, POSTERN_DEFAULT_CLASS=true.

Examples:
  node agent/main.ts --edge https://postern.example.com --cluster home --token-file token --manifests ./manifests
  node agent/main.ts --edge https://postern.example.com --cluster home --token-file token --source kube \\
    --kubeconfig ~/.kube/config --node node-a
  node agent/main.ts --edge http://127.0.0.1:8787 --insecure-plain-http --cluster home --token-file token \\
    --manifests ./manifests --node node-a --address 127.0.1.1 --proxy userspace
  node agent/main.ts --proxy all --kube-proxy-config /var/lib/kube-proxy/config.conf --kube-api https://192.168.1.10:6443
`;
