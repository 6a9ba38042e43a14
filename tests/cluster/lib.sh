# What the scripts of the test cluster share: settings, and how processes are remembered.
# Each setting can be given in the environment; give all scripts the same ones.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WEFT_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft-cluster}
state=${WEFT_CLUSTER_STATE:-/var/tmp/weft-cluster} # a folder of its own, which `down` removes
number=${WEFT_CLUSTER_NUMBER:-91}                  # two clusters at once differ in this and in their state; the later ends first
nodes=${WEFT_CLUSTER_NODES:-2}
grace=${WEFT_NODE_GRACE:-50s} # how long a node that says nothing counts as ready
patience=${WEFT_CLUSTER_PATIENCE:-180}

# The number makes all names and addresses: the machine has .128.1 in it, node 2 has .128.12 and its
# pods .2.0/24, Services are above .240.0. Neither machine nor nodes are in the pods' half: kube-proxy
# then has a Service's answers to them come back through the node that they asked.
name=weft$number
net4=10.$number net6=fd00:$number
machine4=$net4.128.1 machine6=$net6:8000::1
services4=$net4.240.0/20 services6=$net6:f000::/112
node4() { echo "$net4.128.$((10 + $1))"; }
node6() { echo "$net6:8000::$((10 + $1))"; }
pods4() { echo "$net4.$1.0/24"; }
pods6() { echo "$net6:$1::/64"; }

say() { echo "$(date +%T) $*"; }
die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}
# Prints the comment at the top of the script that runs.
usage() { sed -n '2,/^[^#]/s/^# \?//p' "$0"; }

# What was built for these sources.
built() {
	(cd "$here" && cat build kube/*.go kube/*/*.go kube/go.* dns/*.go dns/go.* ../../scripts/pack-image) |
		sha256sum | cut -c1-16
}

# Go, new enough for the modules here or able to fetch what is.
find_go() {
	local go
	for go in "$(command -v go)" /usr/local/go/bin/go; do
		[ -x "$go" ] && (cd "$here/kube" && "$go" list -m) >/dev/null 2>&1 && echo "$go" && return
	done
	return 1
}

# From Debian's packages.
install_packages() {
	[ $# -gt 0 ] || return 0
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@"; } >/dev/null 2>&1
}
# Go of 1.21 and later fetches the version that a module asks for.
install_go() {
	local offered
	offered=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/ *Candidate: //p')
	dpkg --compare-versions "${offered:-0}" ge 2:1.21 && install_packages golang-go && find_go >/dev/null
}

# Why there can be no cluster on this machine, if so. Installs what Debian's packages can mend.
obstacle() {
	[ "$(id -u)" = 0 ] || { echo "root is needed, to make namespaces, links and cgroups" && return; }
	[ -d /sys/fs/cgroup/memory ] || { echo "cgroup v1 is needed under /sys/fs/cgroup; v2 isn't supported" && return; }
	[ -e /proc/net/if_inet6 ] || { echo "the kernel has no IPv6" && return; }
	case $state in /run/* | /var/lib/* | /var/log/*) echo "nodes hide $state: choose another WEFT_CLUSTER_STATE" && return ;; esac

	local need missing=()
	for need in containerd=containerd runc=runc nft=nftables iptables=iptables conntrack=conntrack ip=iproute2 \
		tcpdump=tcpdump curl=curl /usr/lib/cni/ptp=containernetworking-plugins; do
		command -v "${need%=*}" >/dev/null || missing+=("${need#*=}")
	done
	install_packages "${missing[@]}" || { echo "these Debian packages are needed and can't be installed: ${missing[*]}" && return; }
	[ ! -e "$cache/$(built)/images" ] || return 0
	find_go >/dev/null || install_go || { echo "Go 1.25 or later is needed, in PATH or /usr/local/go: https://go.dev/dl" && return; }
	apt-get -qq update >/dev/null 2>&1 || true # the image of tools is made of packages
	fetch_modules || echo "the Go modules of tests/cluster can't be downloaded"
}

# Downloads what the Go modules here need.
fetch_modules() {
	local go module
	go=$(find_go)
	for module in kube dns; do
		for _ in 1 2 3; do # one may fail now and then
			(cd "$here/$module" && "$go" mod download) >/dev/null 2>&1 && continue 2
		done
		return 1
	done
}

# A process is remembered as pid and start time, so that a number which was given to another process
# since is never killed.
started() { sed 's/.*) //; /^Z/d' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { echo "$2 $(started "$2")" >"$state/pids/$1"; }
start() { # NAME COMMAND...
	setsid "${@:2}" >>"$state/log/$1.log" 2>&1 </dev/null &
	remember "$1" $!
	disown
}
# Prints the pid of a remembered process that still runs.
running() {
	local pid start
	read -r pid start 2>/dev/null <"$state/pids/$1" && [ "$(started "$pid")" = "$start" ] && echo "$pid"
}
is_up() { [ -e "$state/up" ] && running apiserver >/dev/null; }

# in_node N COMMAND...: in the network, mounts and processes of a node.
in_node() {
	local outer inner
	outer=$(running "node$1") || die "node$1 doesn't run"
	inner=$(tr -d ' ' <"/proc/$outer/task/$outer/children")
	shift
	nsenter --target "$inner" --net --mount --pid --uts --ipc -- "$@"
}
# Gives images to a node.
import() {
	local node=$1 image
	shift
	for image; do
		in_node "$node" ctr --namespace k8s.io images import - <"$image" >/dev/null || die "node$node doesn't take $image"
	done
}

# until_true WHAT COMMAND...: tries a command until it succeeds.
until_true() {
	local what=$1 said end=$((SECONDS + patience))
	shift
	until said=$("$@" 2>&1); do
		[ $SECONDS -lt $end ] || die "$what: not within $patience s: $(tail -n 3 <<<"$said" | cut -c1-500)"
		sleep 0.2
	done
}
