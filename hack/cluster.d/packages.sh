# shellcheck shell=bash
# Debian packages on demand. Used by hack/cluster and hack/images.

# install_packages LOG PACKAGE...: fails with the reason on stderr.
install_packages() {
  local log=$1
  shift
  if ! command -v apt-get >/dev/null; then
    echo "missing: $* (Debian's names), and there is no apt-get to install them; install them by hand" >&2
    return 1
  fi
  if ((EUID != 0)); then
    echo "missing: $*; as root: apt-get install $*" >&2
    return 1
  fi
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 8 "$log" >&2
    echo "apt-get could not install $*; all of its output is in $log" >&2
    return 1
  fi
}
