# shellcheck shell=bash disable=SC2154  # names come from common.sh
# What must be there before anything is started. Missing Debian packages are installed.

# package of each program that the node needs
declare -A package_of=(
  [containerd]=containerd [runc]=runc [iptables]=iptables [openssl]=openssl [buildah]=buildah
  [nsenter]=util-linux [setsid]=util-linux [flock]=util-linux [ip]=iproute2 [ss]=iproute2 [gcc]=gcc [sysctl]=procps
)

cni_folder() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin; do
    [[ -x $folder/bridge && -x $folder/host-local && -x $folder/portmap && -x $folder/loopback ]] || continue
    echo "$folder"
    return 0
  done
  return 1
}

need_root() {
  ((EUID == 0)) || fail "hack/cluster $1 needs root: it makes a network namespace, mounts and cgroups." \
    "Use \`sudo -E hack/cluster $1\`, or CLUSTER=kind with a docker engine."
}

missing_packages() {
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || echo "${package_of[$program]}"
  done
  # The static pause program needs libc's archive; gcc alone does not bring it.
  [[ -e /usr/include/stdlib.h ]] || echo libc6-dev
  cni_folder >/dev/null || echo containernetworking-plugins
}

programs_up() {
  local missing
  mapfile -t missing < <(missing_packages | sort -u)
  ((${#missing[@]})) || return 0
  step "installing ${missing[*]}"
  install_packages "$state/logs/apt.log" "${missing[@]}" 8<&- || fail "the node needs these packages"
  mapfile -t missing < <(missing_packages | sort -u)
  ((${#missing[@]} == 0)) || fail "still missing after apt-get: ${missing[*]}." \
    "The CNI plugins bridge, host-local, portmap and loopback are looked for in /usr/lib/cni and /opt/cni/bin."
}

check_disk() {
  local free
  free=$(df -Pk "$state" | awk 'NR == 2 { print int($4 / 1024) }')
  ((free >= 2048)) || fail "$state has $free MiB free; the node needs 2048 MiB." \
    "Free some space or point SLUICE_STATE at a larger disk."
}

check_cgroups() {
  [[ -w /sys/fs/cgroup ]] || fail "/sys/fs/cgroup is not writable, so no pod can be limited; is this a container without privileges?"
}
