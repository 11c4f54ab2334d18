# shellcheck shell=bash disable=SC2154  # names come from common.sh
# Takes everything away, in whatever state it is: nothing here relies on a component that still works.

# pids_of_pods: every process in a cgroup below ours.
pids_of_pods() {
  find /sys/fs/cgroup -path "*/$cgroup/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

# pids_of_shims: containerd's helpers; they outlive it. The socket in their command line is ours alone.
pids_of_shims() {
  local pid arguments
  for pid in /proc/[0-9]*; do
    { mapfile -d '' -t arguments <"$pid/cmdline"; } 2>/dev/null || continue
    [[ ${arguments[0]:-} == *containerd-shim* && " ${arguments[*]} " == *" $socket "* ]] && echo "${pid#/proc/}"
  done
  return 0
}

# pids_in_namespace: what is left there, like a component whose pid file is lost.
pids_in_namespace() {
  foreign_namespace || ip netns pids "$cluster" 2>/dev/null || true
}

# kill_all LISTER: SIGKILL to all that LISTER names, until it names none.
kill_all() {
  local pids
  for _ in {1..200}; do
    mapfile -t pids < <("$1")
    ((${#pids[@]})) || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    sleep 0.05
  done
  fail "these processes do not end: ${pids[*]} ($(tr '\0' ' ' <"/proc/${pids[0]}/cmdline"))"
}

unmount_all() {
  local mounts target
  # Mounts can hide others, and containers' mounts go away with some delay.
  for _ in {1..20}; do
    mapfile -t mounts < <(awk -v state="$state/" 'index($5, state) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    ((${#mounts[@]})) || return 0
    for target in "${mounts[@]}"; do
      printf -v target %b "$target" # the kernel writes a blank as \040
      umount "$target" 2>/dev/null || umount -l "$target" 2>/dev/null || true
    done
  done
  fail "still mounted: ${mounts[*]}"
}

remove_cgroups() {
  local folder
  for _ in {1..50}; do
    while read -r folder; do rmdir "$folder" 2>/dev/null || true; done \
      < <(find /sys/fs/cgroup -depth -type d \( -path "*/$cgroup" -o -path "*/$cgroup/*" \) 2>/dev/null)
    [[ -z $(find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" 2>/dev/null) ]] && return 0
    sleep 0.1
  done
  fail "the cgroups named $cgroup below /sys/fs/cgroup can't be removed; is a process left in one of them?"
}

# Places that containerd, the kubelet and the CNI library write to and that can't be configured away.
remove_strays() {
  local file
  remember_shim_sockets
  while read -r file; do
    rm -f "$file"
  done < <(cat "$state/shim-sockets" 2>/dev/null)
  # The CNI library's notes on a pod name the pod's network namespace, which is below our folder.
  grep -lsF "\"$state/" /var/lib/cni/results/* | while read -r file; do rm -f "$file"; done
  file=/var/lib/kubelet/device-plugins/kubelet.sock
  if [[ -S $file && -z $(ss -Hxl src "$file") ]]; then
    rm -f "$file"
  fi
  if [[ -d /var/log/containers ]]; then
    find /var/log/containers -type l -lname "$state/*" -delete
  fi
  rmdir /var/lib/cni/results /var/lib/cni /var/log/containers /run/containerd/s /run/containerd \
    /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}

restore_sysctls() {
  local name value
  [[ -r $state/sysctls ]] || return 0
  while read -r name value; do sysctl -qw "$name=$value"; done <"$state/sysctls"
}

anything_left() {
  [[ -e $state/cluster ]] || ours_by_alias || { [[ -e /run/netns/$cluster ]] && ! foreign_namespace; } ||
    [[ -n $(find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" 2>/dev/null) ]]
}

cluster_down() {
  need_root down
  check_names
  if foreign_namespace; then
    say "the network namespace \"$cluster\" was not made by a cluster of ours; it stays"
  fi
  if ! anything_left; then
    say "nothing to remove: there is no cluster \"$cluster\""
    return 0
  fi
  lock_state
  local name
  # First the ones that would start others again. What they know is thrown away, so nobody is asked politely.
  for name in kubelet kube-controller-manager kube-scheduler kube-proxy; do stop "$name" 0; done
  kill_all pids_of_pods
  for name in containerd kube-apiserver etcd; do stop "$name" 0; done
  kill_all pids_of_shims
  kill_all pids_in_namespace
  step "processes are gone"
  unmount_all
  network_down
  remove_cgroups
  remove_strays
  restore_sysctls
  step "mounts, namespace and cgroups are gone"
  [[ ! -e $state/cluster ]] || rm -rf "$state"
  rmdir "${state%/*}" 2>/dev/null || true
  step "cluster \"$cluster\" is removed"
}
