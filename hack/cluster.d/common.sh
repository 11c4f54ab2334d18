# shellcheck shell=bash disable=SC2034  # the names are used by the other modules
# What every module needs: names, addresses, folders, and how to speak.

cluster=${SLUICE_CLUSTER:-sluice}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice
state=${SLUICE_STATE:-$cache/state/$cluster}
models=${SLUICE_MODELS:-$cache/models}

# 198.18.0.0/15 is set aside for tests of network devices (RFC 2544): it is never routed, so no user has it.
all_ranges=198.18.0.0/15
host_address=198.18.255.1
node_address=198.18.255.2
pod_range=198.18.0.0/17
service_range=198.19.0.0/16
api_service_address=198.19.0.1
dns_address=198.19.0.10
node_name=node
server=https://$node_address:6443

# A link's name has at most 15 characters, so it carries a hash of the cluster's.
host_link=slc-$(printf %s "$cluster" | sha256sum | cut -c1-8)
link_alias="sluice cluster $cluster"
cgroup=sluice-$cluster

say() { printf 'cluster: %s\n' "$*" >&2; }
step() { printf 'cluster: %3d s  %s\n' "$SECONDS" "$*" >&2; }
fail() {
  printf 'cluster: error: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '         %s\n' "$@" >&2
  exit 1
}

check_names() {
  [[ $cluster =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] ||
    fail "SLUICE_CLUSTER is \"$cluster\"; allowed are 1 to 32 lower-case letters, digits and inner dashes"
  [[ $state == /* ]] || fail "SLUICE_STATE is \"$state\"; it must be an absolute path"
  # `down` removes the folder whole, so it must be ours: the file `cluster` in it says so.
  if [[ -e $state && ! -e $state/cluster && -n $(ls -A "$state" 2>/dev/null) ]]; then
    fail "$state exists and is not the state of a cluster; move it away or set SLUICE_STATE"
  fi
  # A unix socket's path has at most 107 characters.
  ((${#state} <= 70)) || fail "SLUICE_STATE is ${#state} characters long; at most 70 leave room for the sockets below it"
}

# One hack/cluster at a time for a state folder. The lock is on the parent, so no lock file is left behind.
lock_state() {
  mkdir -p "${state%/*}"
  exec 8<"${state%/*}"
  flock -n 8 && return 0
  say "another hack/cluster is at work in ${state%/*}; waiting for it"
  flock 8
}

in_namespace() { nsenter --net="/run/netns/$cluster" "$@"; }
kube() { "$bin/kubectl" --kubeconfig="$state/kubeconfig" --request-timeout=10s "$@"; }

# What `env` prints, of either kind of cluster.
print_env() {
  printf 'export KUBECONFIG=%q\n' "$state/kubeconfig"
  # shellcheck disable=SC2016  # the caller's shell is to expand it
  printf 'export PATH=%q:"$PATH"\n' "$bin"
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    components_alive
    ((SECONDS < deadline)) || {
      "$@" >&2 || true
      fail "gave up waiting for $what; the logs are in $state/logs"
    }
    sleep 0.2
  done
}
