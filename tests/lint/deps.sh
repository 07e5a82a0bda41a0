#!/bin/sh
# Install those of the named Debian packages that are missing; nothing, and
# quickly, when all are there.
#
# Debian starts a server when its package is installed and at each boot, and
# makes a cluster for PostgreSQL. The benchmark runs servers of its own, so from
# here they are installed without any of that.
set -eu

if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "deps: not a Debian system; these must be there: $*" >&2
	exit 0
fi

missing=
for p in "$@"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086 # a list of words
set -- $missing

if [ "$(id -u)" -eq 0 ]; then
	sudo() { "$@"; }
elif ! command -v sudo >/dev/null 2>&1; then
	echo "deps: missing packages: $*" >&2
	echo "deps: not root and no sudo; as root, run: apt-get install $*" >&2
	exit 1
fi

policy=/usr/sbin/policy-rc.d # what it says decides which services may start
cluster=/etc/postgresql-common/createcluster.conf
made=

# put PATH MODE: standard input, for the time of the installation, unless
# something is there
put() {
	[ ! -e "$1" ] || return 0
	sudo install -D -m "$2" /dev/stdin "$1"
	made="$made $1"
}

take_back() {
	for f in $made; do
		sudo rm -f "$f"
		# the package's own, which it did not put over ours
		[ ! -e "$f.ucf-dist" ] || sudo mv "$f.ucf-dist" "$f"
	done
	made=
}

servers=
units=
for p in "$@"; do
	case $p in
	redis-server | pgbouncer)
		units="$units $p"
		servers=1
		;;
	postgresql-[0-9]*) # a service of all versions: somebody's, if it is there
		[ -e "$cluster" ] || units="$units postgresql"
		servers=1
		;;
	esac
done
if [ -n "$servers" ]; then
	trap take_back EXIT
	trap 'exit 130' INT TERM
	put "$policy" 755 <<-END
		#!/bin/sh
		exit 101
	END
	put "$cluster" 644 <<-END
		create_main_cluster = false
	END
fi

echo "deps: installing $*"
sudo apt-get update -q
sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -q --no-install-recommends "$@"
if [ -n "$units" ] && command -v systemctl >/dev/null 2>&1; then
	# shellcheck disable=SC2086 # a list of words
	sudo systemctl --quiet disable $units || true
fi
