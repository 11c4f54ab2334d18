# shellcheck shell=bash disable=SC2154  # names come from common.sh
# containerd, kubelet and kube-proxy.

socket=$state/containerd.sock

write_containerd_config() {
  # Every path is below the state folder, so that nothing is shared with a containerd or docker of the host.
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE every sandbox would fail otherwise.
  cat >"$state/config/containerd.toml" <<EOF
version = 2
root = "$state/containerd"
state = "$state/run"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "$socket"
[ttrpc]
  address = "$socket.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sluice.dev/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_folder)"
    conf_dir = "$state/config/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$state/run/runc"
EOF
}

write_cni_config() {
  mkdir -p "$state/config/cni"
  cat >"$state/config/cni/10-sluice.conflist" <<EOF
{
  "cniVersion": "0.4.0",
  "name": "$cgroup",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "$state/cni",
        "ranges": [[{"subnet": "$pod_range"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF
}

write_kubelet_config() {
  # An empty one: nothing outside the cluster can be resolved or reached.
  : >"$state/config/resolv.conf"
  cat >"$state/config/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
containerRuntimeEndpoint: unix://$socket
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $pki/ca.crt}
authorization:
  mode: Webhook
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
clusterDNS: [$dns_address]
clusterDomain: cluster.local
resolvConf: $state/config/resolv.conf
podLogsDir: $state/pod-logs
volumePluginDir: $state/kubelet/volume-plugins
# Nothing is reserved: pods may use all of the machine's CPU and memory.
maxPods: 110
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1Gi
  imagefs.available: 1Gi
# Images are imported by hand and can't be pulled again, so they are never collected.
imageGCHighThresholdPercent: 100
containerLogMaxSize: 10Mi
containerLogMaxFiles: 3
EOF
}

# The kubelet wants its cgroup to be there.
cgroup_up() {
  local controller
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    for controller in cpu cpuset memory pids io hugetlb; do
      echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
    done 2>/dev/null
    mkdir -p "/sys/fs/cgroup/$cgroup"
    return 0
  fi
  for controller in /sys/fs/cgroup/*/; do
    [[ -e ${controller}cgroup.procs ]] || continue
    mkdir -p "$controller$cgroup"
    # A new cpuset has neither cores nor memory until it is told.
    if [[ -e $controller$cgroup/cpuset.cpus ]]; then
      cat "${controller}cpuset.cpus" >"$controller$cgroup/cpuset.cpus"
      cat "${controller}cpuset.mems" >"$controller$cgroup/cpuset.mems"
    fi
  done
}

# The shims' sockets are in /run/containerd/s under hashed names. A containerd that finds a shim dead forgets
# which one was its, so they are written down while the shims' own files still say it; `down` removes them.
remember_shim_sockets() {
  local file
  for file in "$state"/run/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [[ -r $file ]] && printf '%s\n' "$(sed 's|^unix://||' "$file")" >>"$state/shim-sockets"
  done
  return 0
}

# The kubelet sets these for the whole machine; `down` sets them back.
remember_sysctls() {
  local name
  [[ ! -e $state/sysctls ]] || return 0
  for name in vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops \
    kernel.keys.root_maxkeys kernel.keys.root_maxbytes; do
    echo "$name $(sysctl -n "$name")"
  done >"$state/sysctls.new"
  mv "$state/sysctls.new" "$state/sysctls"
}

runtime_up() {
  alive containerd || remember_shim_sockets
  write_containerd_config
  write_cni_config
  start containerd containerd --config "$state/config/containerd.toml"
  wait_for 30 "containerd" ctr -a "$socket" version
}

node_up() {
  write_kubelet_config
  remember_sysctls
  cgroup_up
  check_port kubelet 10250
  start kubelet "$bin/kubelet" --config="$state/config/kubelet.yaml" --root-dir="$state/kubelet" \
    --kubeconfig="$state/config/kubelet.kubeconfig" --hostname-override="$node_name" --node-ip="$node_address"
  start kube-proxy "$bin/kube-proxy" --kubeconfig="$state/config/kube-proxy.kubeconfig" \
    --hostname-override="$node_name" --proxy-mode=iptables --cluster-cidr="$pod_range" \
    --metrics-bind-address=127.0.0.1:10249 --healthz-bind-address=127.0.0.1:10256 \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

# After a repair the condition may be a dead kubelet's last word, so the kubelet is asked as well.
node_ready() {
  [[ $(kube get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]] &&
    kube get --raw "/api/v1/nodes/$node_name/proxy/healthz" >/dev/null 2>&1
}

# import ARCHIVE...: OCI or docker archives into the node's containerd.
import() {
  local archive
  for archive in "$@"; do
    [[ -r $archive ]] || fail "there is no readable image archive $archive; hack/images builds them"
    ctr -a "$socket" -n k8s.io images import "$archive" >&2 || fail "containerd refused $archive; is it an OCI or docker archive?"
  done
}
