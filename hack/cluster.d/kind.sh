# shellcheck shell=bash disable=SC2154  # names come from common.sh
# The same verbs by kind, where there is a docker engine.

need_docker() {
  command -v docker >/dev/null || fail "CLUSTER=kind needs a docker engine, and there is no docker program on PATH." \
    "Without docker, leave CLUSTER unset: hack/cluster then runs a node of its own (as root)."
  docker version >/dev/null 2>&1 || fail "CLUSTER=kind needs a docker engine, and \`docker version\` reaches none." \
    "Start it, or leave CLUSTER unset: hack/cluster then runs a node of its own (as root)."
}

kind_config() { sed "s|\${SLUICE_MODELS}|$models|g" "$hack/kind.yaml"; }

kind_binary() { bin=$("$hack/binaries" kind); }

kind_exists() { "$bin/kind" get clusters 2>/dev/null | grep -qx "$cluster"; }

kind_up() {
  check_names
  need_docker
  kind_binary
  mkdir -p "$state" "$models"
  echo "$cluster" >"$state/cluster"
  if kind_exists; then
    "$bin/kind" export kubeconfig --name "$cluster" --kubeconfig "$state/kubeconfig" >&2
    say "kind's cluster \"$cluster\" is already up"
    return 0
  fi
  kind_config | "$bin/kind" create cluster --name "$cluster" --config - --kubeconfig "$state/kubeconfig" --wait 120s >&2
  step "kind's cluster \"$cluster\" is up; use it with: eval \"\$(CLUSTER=kind hack/cluster env)\""
}

kind_down() {
  check_names
  need_docker
  kind_binary
  "$bin/kind" delete cluster --name "$cluster" --kubeconfig "$state/kubeconfig" >&2
  [[ ! -e $state/cluster ]] || rm -rf "$state"
}

kind_status() {
  need_docker
  kind_binary
  kind_exists || fail "kind has no cluster \"$cluster\"; start it with \`CLUSTER=kind hack/cluster up\`"
  kube get nodes -o wide
}

kind_load() {
  local archive
  (($# > 0)) || fail "load needs one or more image archives; hack/images prints those it builds"
  need_docker
  kind_binary
  for archive in "$@"; do "$bin/kind" load image-archive "$archive" --name "$cluster" >&2; done
}

kind_env() {
  kind_binary
  print_env
}
