# shellcheck shell=bash
# Certificates and kubeconfigs by openssl. Used by hack/cluster and hack/apiserver.

# certificate_authority DIR: an authority in DIR/ca.{crt,key} and the key that signs service-account tokens.
certificate_authority() {
  local dir=$1
  mkdir -p "$dir"
  chmod 700 "$dir"
  [[ -s $dir/ca.crt && -s $dir/sa.pub ]] && return 0
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/ca.key"
  openssl req -x509 -new -key "$dir/ca.key" -days 3650 -subj "/CN=sluice-cluster" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature" \
    -out "$dir/ca.crt"
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/sa.key"
  openssl pkey -in "$dir/sa.key" -pubout -out "$dir/sa.pub"
}

# certificate DIR NAME SUBJECT [SANS]: DIR/NAME.{crt,key}, for a server where SANS is given, for a client
# otherwise. The certificate is renamed into place last, so that one that is there is whole.
certificate() {
  local dir=$1 name=$2 subject=$3 sans=${4:-}
  [[ -s $dir/$name.crt ]] && return 0
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$([[ -n $sans ]] && echo serverAuth || echo clientAuth)"
    [[ -z $sans ]] || echo "subjectAltName=$sans"
  } >"$dir/$name.ext"
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/$name.key"
  # A random serial number: an authority's serial file would be shared by concurrent runs.
  openssl req -new -key "$dir/$name.key" -subj "$subject" |
    openssl x509 -req -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days 3650 \
      -extfile "$dir/$name.ext" -out "$dir/$name.crt.new" 2>/dev/null
  rm "$dir/$name.ext"
  mv "$dir/$name.crt.new" "$dir/$name.crt"
}

# kubeconfig FILE SERVER DIR NAME: a kubeconfig for the client certificate NAME. It embeds everything.
kubeconfig() {
  local file=$1 server=$2 dir=$3 name=$4
  (
    umask 077
    cat >"$file.new" <<EOF
apiVersion: v1
kind: Config
clusters:
  - name: sluice
    cluster:
      server: $server
      certificate-authority-data: $(base64 -w0 "$dir/ca.crt")
users:
  - name: $name
    user:
      client-certificate-data: $(base64 -w0 "$dir/$name.crt")
      client-key-data: $(base64 -w0 "$dir/$name.key")
contexts:
  - name: sluice
    context:
      cluster: sluice
      user: $name
current-context: sluice
EOF
  )
  mv "$file.new" "$file"
}
