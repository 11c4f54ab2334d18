#!/bin/sh
# Runs a command in a network namespace of its own, where pods can have addresses as in EndpointSlices (the
# API server refuses loopback there, K6): 198.18.1.0/24 is answered by this machine, and whatever else lies
# in 198.18.0.0/15 is swallowed without an answer. The namespace goes away with the command.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "netns.sh: a network namespace needs root; run the tests as root" >&2
    exit 77
fi
for tool in unshare ip; do
    command -v "$tool" >/dev/null || { echo "netns.sh: $tool is missing (apt install util-linux iproute2)" >&2; exit 77; }
done
[ "$#" -gt 0 ] || { echo "usage: netns.sh COMMAND [ARGUMENT…]" >&2; exit 64; }
exec unshare --net -- sh -euc '
    ip link set lo up
    ip route add local 198.18.1.0/24 dev lo
    # The other end of the pair lies in this namespace too, and drops what is not for it.
    ip link add void type veth peer name end
    ip link set end up
    ip link set void up arp off
    ip addr add 198.18.255.2/15 dev void
    exec "$@"
' netns "$@"
