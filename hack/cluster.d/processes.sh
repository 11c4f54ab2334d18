# shellcheck shell=bash disable=SC2154  # names come from common.sh
# The node's programs as background processes with pid files.
#
# A pid file holds the pid and the start time of the process. A process counts as ours only if both fit
# and its command line has our state folder in it: after a reboot the pid may be somebody else's.

components=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)

# start_time PID: in clock ticks since boot; empty when there is no such process.
start_time() {
  local line
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  read -ra line <<<"${line##*) }"
  # A zombie is dead: it only waits for its parent.
  [[ ${line[0]} == Z ]] || echo "${line[19]}"
}

# pid_of NAME: the pid of our running NAME; fails when it does not run.
pid_of() {
  local pid started program arguments
  { read -r pid started <"$state/pids/$1"; } 2>/dev/null || return 1
  [[ $pid =~ ^[0-9]+$ && -n $started && $(start_time "$pid") == "$started" ]] || return 1
  { mapfile -d '' -t arguments <"/proc/$pid/cmdline"; } 2>/dev/null || return 1
  program=${arguments[0]:-}
  [[ ${program##*/} == "$1" && "${arguments[*]}" == *"$state/"* ]] || return 1
  echo "$pid"
}

alive() { pid_of "$1" >/dev/null; }

# start NAME COMMAND...: inside the cluster's network namespace, unless it runs already.
start() {
  local name=$1 pid
  shift
  alive "$name" && return 0
  rm -f "$state/pids/$name"
  # nsenter and not `ip netns exec`: that mounts a new /sys, which hides the cgroups.
  setsid nsenter --net="/run/netns/$cluster" "$@" >>"$state/logs/$name.log" 2>&1 </dev/null 8<&- &
  pid=$!
  # The command line that makes the process ours is there only once nsenter has made way for the program.
  for _ in {1..100}; do
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) == "$1 "* ]] && break
    sleep 0.02
  done
  echo "$pid $(start_time "$pid")" >"$state/pids/$name"
  step "started $name (pid $pid)"
}

# components_alive: fails with the last lines of the first component that was started and has ended.
components_alive() {
  local name
  for name in "${components[@]}"; do
    if [[ -e $state/pids/$name ]] && ! alive "$name"; then
      tail -n 12 "$state/logs/$name.log" >&2 || true
      fail "$name has ended; its last lines are above, all of it in $state/logs/$name.log"
    fi
  done
}

# stop NAME SECONDS: SIGTERM, and SIGKILL after SECONDS (at once for 0).
stop() {
  local name=$1 patience=$2 pid deadline
  if pid=$(pid_of "$name"); then
    if ((patience > 0)); then
      kill -TERM "$pid" 2>/dev/null || true
      deadline=$((SECONDS + patience))
      while alive "$name" && ((SECONDS < deadline)); do sleep 0.05; done
    fi
    alive "$name" && kill -KILL "$pid" 2>/dev/null
    while alive "$name"; do sleep 0.02; done
  fi
  rm -f "$state/pids/$name"
}

# check_port NAME PORT: in the namespace nobody but NAME may listen on it.
check_port() {
  local name=$1 port=$2 line
  alive "$name" && return 0
  line=$(in_namespace ss -Hltnp "sport = :$port")
  [[ -z $line ]] && return 0
  line=${line##*users:}
  fail "port $port of the network namespace $cluster, which $name needs, is taken by $line" \
    "\`hack/cluster down\` ends everything that runs in the namespace; then \`hack/cluster up\`."
}
