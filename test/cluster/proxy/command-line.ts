// The command's options, as both of its halves read them.
export const options = {
  with: { type: "string", default: "kube-proxy" },
  mode: { type: "string", default: "nftables" },
  only: { type: "string", default: "" },
  table: { type: "string", default: "" },
  hold: { type: "boolean", default: false },
  quiet: { type: "boolean", default: false },
  logs: { type: "string", default: "" },
  help: { type: "boolean", default: false },
  /** Given by main.ts. */
  binaries: { type: "string", default: "" },
  kernel: { type: "string", default: "" },
  /** Given by vm.ts to what runs in the virtual machine: the agent, bundled outside of it, and the control plane there. */
  agent: { type: "string", default: "" },
  server: { type: "string", default: "" },
} as const;

export const usage = `usage: npm run test:proxy -- [--with kube-proxy|agent] [--mode nftables|iptables|ipvs]
       --only TEXT     rows whose printed line TEXT matches, a regular expression
       --table TEXT    tables whose name TEXT matches; the last one is "changes". "load" and "distribution" are played only by their
                       whole names
       --quiet         prints what was wrong, be it only at the first try, and the sums
       --logs FOLDER   keeps what the programs said, and each node's rules after each table
       --hold          afterwards all stays as it is until Ctrl-C, to look around in it
exit code: 0 all as expected, 1 something was not, 2 the table could not be played`;
