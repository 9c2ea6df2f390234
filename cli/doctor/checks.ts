// Everything that the doctor and `postern analyze` can find, in one place: docs/doctor.md is generated from this list
// (`npm run docs`), and no finding has an id that is not here. Ids are promised to scripts: they are added, never changed. Pure.

/** In the order of a request's way, from the client's end; the Service itself and what is wrong with asking come first. */
export const hops = {
  asking: "What could be asked",
  edge: "Edge",
  names: "DNS, certificate, answer",
  service: "The Service itself",
  table: "Directory and table",
  publish: "Last publish",
  tunnel: "Tunnel connections",
  node: "Nodes",
  nodeport: "NodePorts",
  rules: "Kernel rules",
  dial: "Endpoint dial",
  pod: "Pods",
} as const;
export type Hop = keyof typeof hops;

export interface Check {
  readonly hop: Hop;
  /** What is wrong, in a few words. */
  readonly title: string;
  /** What was asked, and whom. */
  readonly asked: string;
  /** What it does to requests, and why. */
  readonly means: string;
  /** It may be so for some seconds after a change: of what is younger than the grace time it is only mentioned. */
  readonly settles?: true;
}

export const checks = {
  // Asking
  "rights-missing": {
    hop: "asking",
    title: "Something could not be read",
    asked: "kubectl get, with the rights of your kubeconfig; and the edge's API",
    means: "What depends on it was not examined, so a fault there is not named.",
  },
  "service-missing": {
    hop: "asking",
    title: "The Service is not there",
    asked: "kubectl get service",
    means: "There is nothing to examine under that name.",
  },

  "object-invalid": {
    hop: "asking",
    title: "An object in the file is not valid",
    asked: "the file, by the rules of the API server that concern Postern",
    means: "The API server refuses it, or what it says has another effect than meant.",
  },

  // Edge
  "edge-unreachable": {
    hop: "edge",
    title: "The edge's API does not answer",
    asked: "GET /api/v1/version, from this machine",
    means: "The edge is down, or something between this machine and it is. If it is down, no request is served.",
  },
  "token-refused": {
    hop: "edge",
    title: "The edge refuses the token",
    asked: "the cluster's state, with the token of this context",
    means:
      "The token was revoked or rotated, or is another edge's. An agent with the same token cannot publish either.",
  },
  "cluster-unknown": {
    hop: "edge",
    title: "The edge does not know the cluster",
    asked: "GET /api/v1/clusters/{cluster}/table",
    means: "It was removed, or this is another edge than the one that the agents dial.",
  },
  "version-skew": {
    hop: "edge",
    title: "Command, edge and agents are of different versions",
    asked: "GET /api/v1/version, and the version that each agent says when it connects",
    means: "Neighbouring versions work together; versions further apart may lack what the other one asks for.",
  },
  "quota-near": {
    hop: "edge",
    title: "A limit of Cloudflare's free plan is near",
    asked: "Cloudflare's GraphQL Analytics API, for what all Workers of the account have used since midnight UTC",
    means:
      "Four fifths of a day's limit are used. Past it Cloudflare refuses requests until midnight UTC. A paid plan has no such limit; " +
      "which plan an account is on cannot be asked for, so leave it out there: --skip quota-near,quota-exhausted.",
  },
  "quota-exhausted": {
    hop: "edge",
    title: "A limit of Cloudflare's free plan is used up",
    asked:
      "Cloudflare's GraphQL Analytics API, as for quota-near; and the host names, which then answer 429 with error 1027",
    means:
      "Until midnight UTC users get Cloudflare's error 1027 (status 429) where Worker requests are used up, and errors of the edge where " +
      "it is one of the limits of Durable Objects.",
  },
  "quota-unknown": {
    hop: "edge",
    title: "Cloudflare does not say how much of the day's limits is used",
    asked: "Cloudflare's GraphQL Analytics API, with the token in CLOUDFLARE_API_TOKEN",
    means:
      "The token lacks the right Account Analytics: Read, or the API did not answer. Requests are served all the same.",
  },

  // DNS, certificate, answer
  "dns-missing": {
    hop: "names",
    title: "The host name does not resolve",
    asked: "this machine's resolver",
    means: "Clients that use the same DNS cannot find the edge.",
  },
  "dns-elsewhere": {
    hop: "names",
    title: "The host name leads to something that is no Postern edge",
    asked: "an HTTP request to the host name that any Postern edge refuses by itself",
    means: "DNS points elsewhere, or another server answers at the edge's address and port.",
  },
  "listener-closed": {
    hop: "names",
    title: "Nothing answers at the host name and port",
    asked: "a TCP connection and an HTTP request from this machine",
    means: "The edge does not listen there, or a firewall is in between.",
    settles: true,
  },
  "certificate-invalid": {
    hop: "names",
    title: "The certificate is not valid for the host name",
    asked: "a TLS handshake from this machine, verified against its certificate authorities",
    means: "Browsers refuse to show the site. At the edge's own address this command and the agents refuse to connect.",
  },
  "certificate-expiring": {
    hop: "names",
    title: "The certificate ends soon",
    asked: "a TLS handshake from this machine",
    means: "From that day on browsers refuse to show the site.",
  },
  "source-refuses-you": {
    hop: "names",
    title: "The Service's source ranges refuse this machine",
    asked: "an HTTP request from this machine, and spec.loadBalancerSourceRanges",
    means: "The Service works for the networks that it lists, and yours is none of them.",
  },
  "answer-failed": {
    hop: "names",
    title: "The edge answers in the server's place",
    asked: "an HTTP request for / from this machine",
    means: "The request reached the edge, and from there no server's answer could be had. The other hops say why.",
    settles: true,
  },

  "request-differs": {
    hop: "names",
    title: "A traced request got another answer than the endpoint gave, or none of an endpoint",
    asked:
      "one request for / from this machine, and what the edge's access log says of it at each hop (--from outside)",
    means: "The hop that is named is the first, seen from the endpoint, that did not hand on what it was given.",
    settles: true,
  },

  // The Service itself
  "type-not-exposed": {
    hop: "service",
    title: "The Service is of a type that Postern does not expose",
    asked: "spec.type, and annotations of postern.dev",
    means: "Its annotations say that Postern is meant, and its type says that nobody outside reaches it.",
  },
  "class-missing": {
    hop: "service",
    title: "The Service has no class, and nobody took it",
    asked: "spec.loadBalancerClass, and what stands in status",
    means: "Postern serves Services without a class only where its agents run with --default-class.",
    settles: true,
  },
  "class-foreign": {
    hop: "service",
    title: "The Service is another controller's",
    asked: "spec.loadBalancerClass, and who wrote status.loadBalancer",
    means: "Postern leaves alone what another controller serves.",
  },
  "annotation-unknown": {
    hop: "service",
    title: "An annotation of postern.dev that there is not",
    asked: "the names of the annotations",
    means: "It has no effect.",
  },
  "annotation-ignored": {
    hop: "service",
    title: "The value of an annotation or a source range cannot be read",
    asked: "annotations of postern.dev, and spec.loadBalancerSourceRanges",
    means: "The default is used instead; a source range that cannot be read lets nobody in.",
  },
  "port-not-offered": {
    hop: "service",
    title: "The edge does not open a port of the Service",
    asked: "spec.ports, and the edge's listener ports",
    means: "Clients cannot connect to that port. The others are served.",
  },
  "protocol-not-carried": {
    hop: "service",
    title: "A port is UDP or SCTP",
    asked: "spec.ports[].protocol",
    means: "The edge carries HTTP over TCP only.",
  },
  "protocol-declared": {
    hop: "service",
    title: "appProtocol says something that Postern does not speak",
    asked: "spec.ports[].appProtocol",
    means:
      "Postern speaks HTTP/1.1 without TLS to pods. A server that takes TLS or HTTP/2 alone answers nothing useful.",
  },
  "protocol-differs": {
    hop: "service",
    title: "The server speaks another protocol than HTTP/1.1 without TLS",
    asked: "an HTTP request, and what the server said to it",
    means: "The server takes TLS, HTTP/2 or something else at the port to which targetPort leads.",
  },
  "selector-missing": {
    hop: "service",
    title: "The Service has no selector, and no EndpointSlice of its own",
    asked: "spec.selector, and EndpointSlices with the Service's name",
    means: "Nobody says where requests shall go.",
    settles: true,
  },
  "external-name-refused": {
    hop: "service",
    title: "The ExternalName is not allowed",
    asked: "the Service's conditions",
    means: "Agents dial only what their --allow-external-name lists.",
  },
  "hostname-conflict": {
    hop: "service",
    title: "A host name is another's",
    asked: "the Service's conditions, which the edge makes",
    means: "The older Service, or the cluster that owns the name, keeps it. This one is not served under it.",
  },
  "hostname-not-allowed": {
    hop: "service",
    title: "The cluster may not claim a host name",
    asked: "the Service's conditions, which the edge makes",
    means: "The edge's admin has not granted the name to this cluster.",
  },
  "being-deleted": {
    hop: "service",
    title: "The Service or its namespace is being deleted, and does not go",
    asked: "metadata.deletionTimestamp and metadata.finalizers",
    means: "It is not served any more. What holds a finalizer has not let go: for Postern's own, no agent leads.",
  },
  "status-overwritten": {
    hop: "service",
    title: "Two controllers write the Service's status",
    asked: "the Service's conditions",
    means: "Its address changes back and forth.",
  },
  "condition-reported": {
    hop: "service",
    title: "A condition of the Service says that something is wrong",
    asked: "status.conditions, and the edge's own",
    means: "See the condition's page: conditions.md.",
  },

  // Directory and table
  "not-published": {
    hop: "table",
    title: "The edge does not know the Service",
    asked: "the edge's table and conditions",
    means: "No agent has published it: none leads, none reaches the edge, or the edge refuses what it is sent.",
    settles: true,
  },
  "not-programmed": {
    hop: "table",
    title: "The edge has no listener for the Service",
    asked: "the edge's table, and the condition postern.dev/Programmed",
    means: "There is no host name and port at which it could be asked.",
    settles: true,
  },
  "directory-other-cluster": {
    hop: "table",
    title: "The directory sends the host name to other clusters",
    asked: "GET /api/v1/hostnames/{hostname}",
    means: "This cluster is no member of the name, so no request comes here.",
  },

  // Last publish
  "publish-stale": {
    hop: "publish",
    title: "The edge knows an older state than the cluster has",
    asked: "the edge's conditions and nodes, against the API server's objects",
    means: "The leading agent does not publish: it cannot reach the API server or the edge, or is stuck.",
    settles: true,
  },

  "publish-refused": {
    hop: "publish",
    title: "The edge refused what the cluster published last",
    asked: "the edge, what it refused and when",
    means: "The last good state serves on, and no change of the cluster reaches the edge until the cause is gone.",
  },
  "agent-cannot-read": {
    hop: "publish",
    title: "An agent does not follow the API server, or cannot use an object",
    asked: "the agent, by a probe through the tunnel",
    means: "It goes on with the last state of what it cannot read. If it leads, nothing newer of that is published.",
    settles: true,
  },

  // Tunnel
  "agent-missing": {
    hop: "tunnel",
    title: "The agent is not installed",
    asked: "namespace postern-system and its DaemonSet postern-agent",
    means: "Without agents nothing is published and no request comes in.",
  },
  "agent-down": {
    hop: "tunnel",
    title: "The agent of a node does not run",
    asked: "the agents' pods, by node",
    means: "No request comes in by that node, and no probe of it is possible.",
    settles: true,
  },
  "node-not-connected": {
    hop: "tunnel",
    title: "A node has no tunnel to the edge",
    asked: "the edge's list of nodes",
    means: "No request comes in by that node. Others take its share, if there are any.",
    settles: true,
  },
  "tunnel-silent": {
    hop: "tunnel",
    title: "A tunnel connection does not answer",
    asked: "a probe stream of its own through that connection",
    means: "The connection looks open and carries nothing: requests on it wait and fail.",
  },

  // Nodes
  "no-eligible-node": {
    hop: "node",
    title: "No node may take requests",
    asked: "labels and taints of the nodes, and the edge's table",
    means: "Every node is excluded from load balancers, or has no endpoint of its own where the Service asks for one.",
  },
  "node-excluded": {
    hop: "node",
    title: "A node is excluded from load balancers",
    asked: "labels and taints of the nodes",
    means: "It gets no new requests; its pods are reached through other nodes.",
  },
  "node-not-ready": {
    hop: "node",
    title: "A node is not Ready",
    asked: "status.conditions of the Node",
    means: "Kubernetes has lost it, or its kubelet ails: its pods count as not ready soon.",
  },
  "local-policy-no-pods": {
    hop: "node",
    title: "externalTrafficPolicy: Local, and no connected node has a pod",
    asked: "spec.externalTrafficPolicy, the endpoints' nodes, and the edge's list of nodes",
    means:
      "With Local a node serves its own pods only. Those with pods are not connected, and those that are have none.",
    settles: true,
  },
  "clock-skew": {
    hop: "node",
    title: "A node's clock is wrong",
    asked: "the agent's time, by a probe through the tunnel",
    means: "Certificates and leases are judged by that clock: TLS fails, and leadership flaps.",
  },
  "conntrack-full": {
    hop: "node",
    title: "A node's connection table is full",
    asked: "nf_conntrack_count and nf_conntrack_max, by the agent",
    means: "The kernel drops new connections: requests fail now and then, whatever the pods do.",
  },
  "kube-proxy-down": {
    hop: "node",
    title: "kube-proxy does not run on a node",
    asked: "kube-proxy's pods in kube-system, by node",
    means: "NodePorts and ClusterIPs of that node do not follow the pods any more. Tunnel requests still reach them.",
  },

  "kube-proxy-version": {
    hop: "node",
    title: "kube-proxy's version does not go with the API server's",
    asked: "the image of kube-proxy's pods in kube-system, or k3s' version on the Node; and the API server's /version",
    means:
      "Kubernetes supports a kube-proxy that is at most three minor versions older than the API server, and none that is newer. Another one may misread Services.",
  },

  // NodePort
  "nodeport-silent": {
    hop: "nodeport",
    title: "A node's NodePort does not lead to the Service",
    asked: "a connection to the NodePort, by the node's own agent",
    means:
      "The kernel's rules, or what makes them (kube-proxy, the agent), lack the Service on that node. Transport direct fails there.",
    settles: true,
  },

  // Rules
  "rules-differ": {
    hop: "rules",
    title: "The kernel's rules are not what the plan says",
    asked: "the node's agent, which compares its rules with its plan",
    means: "Something else changed the rules, or the kernel refused them.",
    settles: true,
  },

  // Dial
  "target-port-refused": {
    hop: "dial",
    title: "Pods are ready and refuse connections at targetPort",
    asked: "a connection from each node to each endpoint",
    means: "No process listens at that port, or it listens on 127.0.0.1 only, which nobody outside of the pod reaches.",
  },
  "network-policy": {
    hop: "dial",
    title: "A NetworkPolicy keeps the nodes out",
    asked: "the NetworkPolicies that select the Service's pods, and connections from the nodes",
    means: "Requests come from the nodes' addresses. The policies admit only what they list.",
  },
  "node-cannot-dial": {
    hop: "dial",
    title: "One node does not reach pods that others reach",
    asked: "a connection from each node to each endpoint",
    means: "A firewall of that node, or its part of the pods' network, drops what it sends to the pods.",
  },
  "endpoint-unreachable": {
    hop: "dial",
    title: "No node reaches an endpoint",
    asked: "a connection from each node to each endpoint",
    means: "Packets to it are lost: the pods' network, a firewall or a policy drops them, or the address is nobody's.",
  },

  // Pods
  "selector-matches-nothing": {
    hop: "pod",
    title: "The selector matches no pod",
    asked: "spec.selector, against the labels of the namespace's pods",
    means: "The Service has no endpoints, so every request is 503.",
    settles: true,
  },
  "selector-elsewhere": {
    hop: "pod",
    title: "The pods are in another namespace",
    asked: "pods of all namespaces with the labels of spec.selector",
    means: "A Service selects pods of its own namespace only.",
  },
  "target-port-name-missing": {
    hop: "pod",
    title: "No container has a port of the name that targetPort says",
    asked: "spec.ports[].targetPort, against the ports of the pods' containers",
    means: "Kubernetes finds no number for the name, so that port has no endpoint.",
  },
  "target-port-unlisted": {
    hop: "pod",
    title: "No container lists the number that targetPort says",
    asked: "spec.ports[].targetPort, against the ports of the pods' containers",
    means: "Lists of ports bind nobody, so it may be right. If connections are refused, it is the cause.",
  },
  "readiness-failing": {
    hop: "pod",
    title: "A readiness probe fails",
    asked: "the pods' conditions, and the kubelet's Events",
    means: "Pods that are not ready get no requests.",
    settles: true,
  },
  "crash-looping": {
    hop: "pod",
    title: "A container ends again and again",
    asked: "status.containerStatuses of the pods",
    means: "The pod is not ready most of the time.",
  },
  "image-not-pulled": {
    hop: "pod",
    title: "An image cannot be pulled",
    asked: "status.containerStatuses of the pods",
    means: "The container does not start.",
  },
  "container-not-started": {
    hop: "pod",
    title: "A container cannot be started",
    asked: "status.containerStatuses of the pods, and the kubelet's Events",
    means: "What it needs (a ConfigMap, a Secret, a volume, an init container) is not there.",
    settles: true,
  },
  "not-scheduled": {
    hop: "pod",
    title: "A pod has no node",
    asked: "the pods' condition PodScheduled",
    means: "The scheduler finds no node for it.",
    settles: true,
  },
  "pods-not-made": {
    hop: "pod",
    title: "A workload makes no pods",
    asked: "the workloads whose pods the Service selects, and their Events",
    means: "A quota, an admission policy or a missing account refuses them.",
    settles: true,
  },
  "scaled-to-zero": {
    hop: "pod",
    title: "The workload is scaled to zero",
    asked: "spec.replicas of the workloads whose pods the Service selects",
    means: "Somebody wants no pods. Requests are 503 until it is scaled up.",
  },
  "no-ready-pods": {
    hop: "pod",
    title: "No pod is ready",
    asked: "the Service's EndpointSlices and pods",
    means: "Every request is 503.",
    settles: true,
  },
  "family-mismatch": {
    hop: "pod",
    title: "The endpoints are of an address family that the nodes lack",
    asked: "EndpointSlices, and the nodes' addresses",
    means: "No node can reach them.",
  },
} as const satisfies Record<string, Check>;

export type CheckId = keyof typeof checks;
export const checkIds = Object.keys(checks) as readonly CheckId[];

/** Where its page is. */
export const pageOf = (id: CheckId): string => `docs/doctor.md#${id}`;
