# shellcheck shell=bash disable=SC2154  # names come from common.sh
# etcd, the API server, the controllers and the scheduler.

pki=$state/pki

certificates_up() {
  certificate_authority "$pki"
  certificate "$pki" apiserver "/CN=kube-apiserver" "IP:$node_address,IP:127.0.0.1,IP:$api_service_address,\
DNS:localhost,DNS:$node_name,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
DNS:kubernetes.default.svc.cluster.local"
  certificate "$pki" kubelet-server "/O=system:nodes/CN=system:node:$node_name" "IP:$node_address,DNS:$node_name"
  certificate "$pki" admin "/O=system:masters/CN=admin"
  certificate "$pki" apiserver-kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client"
  certificate "$pki" front-proxy-client "/CN=front-proxy-client"
  certificate "$pki" kube-controller-manager "/CN=system:kube-controller-manager"
  certificate "$pki" kube-scheduler "/CN=system:kube-scheduler"
  certificate "$pki" kube-proxy "/CN=system:kube-proxy"
  certificate "$pki" kubelet "/O=system:nodes/CN=system:node:$node_name"
  local name
  for name in kube-controller-manager kube-scheduler kube-proxy kubelet; do
    kubeconfig "$state/config/$name.kubeconfig" "$server" "$pki" "$name"
  done
  kubeconfig "$state/kubeconfig" "$server" "$pki" admin
}

control_plane_up() {
  check_port etcd 2379
  # Losing the last second at a crash of the machine is fine here; waiting for the disk is not.
  start etcd "$bin/etcd" --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380

  check_port kube-apiserver 6443
  # InternalIP: else `exec` and `logs` would try to resolve the node's name.
  start kube-apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address="$node_address" --secure-port=6443 \
    --service-cluster-ip-range="$service_range" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --client-ca-file="$pki/ca.crt" \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key"
  wait_for 60 "the API server" kube get --raw=/readyz

  local config=$state/config
  # With the default of 20 requests a second the controllers take 5 s to start.
  start kube-controller-manager "$bin/kube-controller-manager" --leader-elect=false --bind-address=127.0.0.1 \
    --kube-api-qps=200 --kube-api-burst=300 \
    --kubeconfig="$config/kube-controller-manager.kubeconfig" \
    --authentication-kubeconfig="$config/kube-controller-manager.kubeconfig" \
    --authorization-kubeconfig="$config/kube-controller-manager.kubeconfig" \
    --use-service-account-credentials=true --root-ca-file="$pki/ca.crt" \
    --service-account-private-key-file="$pki/sa.key" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
  start kube-scheduler "$bin/kube-scheduler" --leader-elect=false --bind-address=127.0.0.1 \
    --kubeconfig="$config/kube-scheduler.kubeconfig" \
    --authentication-kubeconfig="$config/kube-scheduler.kubeconfig" \
    --authorization-kubeconfig="$config/kube-scheduler.kubeconfig"
}
