# shellcheck shell=bash disable=SC2154  # names come from common.sh
# The namespace that the node lives in, and the one link between it and the host.

# in_the_way: the first device that carries a route into our ranges and is not our link.
in_the_way() {
  local device
  device=$(ip -o route show root "$all_ranges" | sed -n 's/.* dev \([^ ]*\).*/\1/p' | grep -vx "$host_link" | head -n 1)
  [[ -n $device ]] && echo "$device"
}

ours_by_alias() { [[ $(ip -o -d link show dev "$host_link" 2>/dev/null) == *"alias $link_alias"* ]]; }

# A namespace of our name that we did not make: neither our state folder nor our link knows it.
foreign_namespace() {
  [[ -e /run/netns/$cluster && ! -e $state/cluster ]] && ! ours_by_alias
}

check_network() {
  local device owner
  foreign_namespace && fail "there is a network namespace \"$cluster\" that no cluster of ours made." \
    "Choose another name with SLUICE_CLUSTER, or remove it: ip netns del $cluster"
  if device=$(in_the_way); then
    owner=$(ip -o -d link show dev "$device" | sed -n 's/.*alias \(sluice cluster [a-z0-9-]*\).*/\1/p')
    [[ -n $owner ]] || fail "the host's link $device has a route into $all_ranges, which the cluster needs: $(ip -o route show root "$all_ranges" | head -n 1)"
    fail "$owner is up and has the addresses $all_ranges; only one cluster can be up at a time." \
      "\`SLUICE_CLUSTER=${owner##* } hack/cluster down\` ends that one."
  fi
  return 0
}

namespace_works() { in_namespace true 2>/dev/null; }

network_up() {
  # After an unclean stop the name may be there without a namespace mounted on it.
  if [[ -e /run/netns/$cluster ]] && ! namespace_works; then
    umount "/run/netns/$cluster" 2>/dev/null || true
    rm -f "/run/netns/$cluster"
  fi
  if [[ ! -e /run/netns/$cluster ]]; then
    # What still runs in a namespace that has lost its name is cut off for good.
    local name
    for name in "${components[@]}"; do stop "$name" 0; done
    kill_all pids_of_pods
    kill_all pids_of_shims
    ip netns add "$cluster"
  fi
  if ! ip link show dev "$host_link" >/dev/null 2>&1 || ! in_namespace ip link show dev host0 >/dev/null 2>&1; then
    ip link del dev "$host_link" 2>/dev/null || true
    ip link add "$host_link" type veth peer name host0 netns "$cluster"
    ip link set dev "$host_link" alias "$link_alias"
  fi
  ip address replace "$host_address/30" dev "$host_link"
  ip link set dev "$host_link" up
  in_namespace ip link set dev lo up
  in_namespace ip address replace "$node_address/30" dev host0
  in_namespace ip link set dev host0 up
  in_namespace ip route replace default via "$host_address"
  in_namespace sysctl -qw net.ipv4.ip_forward=1
  # So that a process of the host can call pods and Services.
  ip route replace "$pod_range" via "$node_address" dev "$host_link"
  ip route replace "$service_range" via "$node_address" dev "$host_link"
}

network_down() {
  # The namespace first: once the link is gone nothing may tell any more that it was ours.
  if [[ -e /run/netns/$cluster ]] && ! foreign_namespace; then
    ip netns del "$cluster" 2>/dev/null || rm -f "/run/netns/$cluster"
  fi
  ! ours_by_alias || ip link del dev "$host_link" 2>/dev/null || true
}
