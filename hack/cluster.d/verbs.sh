# shellcheck shell=bash disable=SC2154  # names come from common.sh
# up, status, load and env of the node without docker; `down` has its own module.

all_alive() {
  local name
  for name in "${components[@]}"; do alive "$name" || return 1; done
}

prepare_state() {
  mkdir -p "$state" "$models"
  # Marks the folder as a cluster's: `down` removes nothing else.
  echo "$cluster" >"$state/cluster"
  mkdir -p "$state"/{pids,logs,config,cni}
}

# What is dead is forgotten, so that only the components that this run starts are watched.
forget_the_dead() {
  local name
  for name in "${components[@]}"; do
    alive "$name" || rm -f "$state/pids/$name"
  done
}

cluster_up() {
  need_root up
  check_names
  lock_state
  check_network
  local repaired=
  [[ -e $state/cluster ]] && repaired=yes
  if [[ -n $repaired ]] && all_alive && bin=$("$hack/binaries" path) && node_ready && dns_ready; then
    say "cluster \"$cluster\" is already up"
    return 0
  fi
  prepare_state
  programs_up
  check_disk
  check_cgroups
  bin=$("$hack/binaries" node 8<&-)
  step "binaries are in $bin"
  forget_the_dead
  network_up
  certificates_up
  # containerd and the node's images do not need the API server, so they do not wait for it.
  runtime_up
  import_node_images 8<&-
  step "containerd has the node's images"
  control_plane_up
  step "the API server answers at $server"
  node_up
  wait_for 60 "the node to be Ready" node_ready
  step "the node is Ready"
  dns_up
  wait_for 60 "CoreDNS" dns_ready
  wait_for 30 "the default service account" kube get serviceaccount default
  step "cluster \"$cluster\" is up; use it with: eval \"\$(hack/cluster env)\""
}

require_up() {
  [[ -e $state/cluster ]] || fail "there is no cluster \"$cluster\" (no $state); start it with \`hack/cluster up\`"
}

cluster_load() {
  (($# > 0)) || fail "load needs one or more image archives; hack/images prints those it builds"
  need_root load
  require_up
  alive containerd || fail "containerd of cluster \"$cluster\" does not run; \`hack/cluster up\` repairs it"
  import "$@"
}

cluster_env() {
  require_up
  bin=$("$hack/binaries" path)
  print_env
}

cluster_status() {
  local name pid json='' all=true ready=Unknown format=${1:-}
  [[ -z $format || $format == --json ]] || fail "status takes no argument but --json, found \"$format\""
  require_up
  bin=$("$hack/binaries" path)
  if alive kube-apiserver; then
    ready=$(kube --request-timeout=2s get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) || ready=Unknown
  fi
  for name in "${components[@]}"; do
    if pid=$(pid_of "$name"); then
      [[ -n $format ]] || printf '%-24s alive  pid %s\n' "$name" "$pid"
    else
      [[ -n $format ]] || printf '%-24s dead   last lines: %s\n' "$name" "$state/logs/$name.log"
      pid=null all=false
    fi
    json+="${json:+, }\"$name\": {\"pid\": $pid}"
  done
  [[ $ready == True ]] || all=false
  if [[ -n $format ]]; then
    printf '{"cluster": "%s", "up": %s, "ready": "%s", ' "$cluster" "$all" "$ready"
    printf '"%s": "%s", ' server "$server" node "$node_address" dns "$dns_address" pods "$pod_range" \
      services "$service_range" namespace "/run/netns/$cluster" kubeconfig "$state/kubeconfig" state "$state" \
      containerd "$socket"
    printf '"components": {%s}}\n' "$json"
  else
    printf '%-24s %s\n' "node Ready" "$ready" "API server" "$server" "node address" "$node_address" \
      "pods, services" "$pod_range, $service_range" "DNS" "$dns_address" \
      "network namespace" "/run/netns/$cluster" "state" "$state"
  fi
  [[ $all == true ]]
}
