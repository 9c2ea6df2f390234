#!/bin/sh
# `postern`, and `kubectl postern`, of the installed package: the command's bundle, run by the Node.js that came with it as a package, so
# that the person's own may be of any version. Node.js takes this process's place, so signals, terminal and exit code are its own.
here=$(dirname "$(readlink -f "$0")")
# Below this package where it was installed by `npm install -g`; beside it in a project.
for node in "$here"/../../node_modules/node-*/bin/node "$here"/../../../node-*/bin/node; do
  [ -x "$node" ] && exec "$node" "$here/cli.js" "$@"
done
echo "postern: no Node.js came with this package: it needs Linux or macOS, on x64 or arm64, and npm's optional dependencies" >&2
echo "Next: npm install -g --include=optional postern" >&2
exit 1
