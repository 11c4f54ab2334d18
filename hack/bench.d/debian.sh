# shellcheck shell=bash
# Debian packages beside the system. Used by hack/bench-router and hack/bench-server, which define say and fail.

# unpacked CACHE NAME PACKAGE...: unpacks packages of this Debian into a folder of the cache; nothing of them is installed
# or started. The last line of stdout is the folder.
unpacked() {
  local cache=$1 name=$2 at temp package
  shift 2
  command -v apt-get >/dev/null || fail "there is no apt-get to get $* with (Debian's names)"
  at=$cache/$name-$(known "$@")
  if [[ ! -f $at/complete ]]; then
    say "getting $*"
    apt-get update -qq >&2 || fail "apt-get update failed"
    at=$cache/$name-$(known "$@")
  fi
  if [[ ! -f $at/complete ]]; then
    rm -rf "$at"
    mkdir -p "$at"
    temp=$(mktemp -d)
    (cd "$temp" && apt-get download -qq -o APT::Sandbox::User=root "$@" >&2) || fail "apt-get could not download $*"
    for package in "$temp"/*.deb; do dpkg-deb --extract "$package" "$at"; done
    rm -rf "$temp"
    touch "$at/complete"
  fi
  echo "$at"
}

# A key of these packages in the versions that apt knows at present.
known() {
  apt-cache policy "$@" | awk '/^[a-z]/ { name = $1 } /Candidate:/ { print name, $2 }' | sha256sum | cut -c1-16
}

# The folder of libraries in what was unpacked.
libraries() {
  echo "$1/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")"
}
