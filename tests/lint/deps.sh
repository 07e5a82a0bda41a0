#!/bin/sh
# Install those of the named Debian packages that are missing; nothing, and
# quickly, when all are there.
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

echo "deps: installing $*"
sudo apt-get update -q
sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -q --no-install-recommends "$@"
