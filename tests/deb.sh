#!/bin/bash
# Build the Debian packages from what git knows, look at them with lintian, install
# them into a fresh Debian, start the daemon there, run queries, and remove them.
# Without root or a mirror they are unpacked into a scratch directory instead.
#
# Everything is in one directory under TMPDIR, which is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sqlpoold-deb.XXXXXX")
root=$tmp/root
pid=
trap cleanup EXIT
trap 'exit 130' INT TERM

cleanup() {
	[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
	if mountpoint -q "$root/proc"; then
		umount "$root/proc" || umount -l "$root/proc"
	fi
	rm -rf --one-file-system "$tmp"
}

fail() {
	echo "deb: FAILED: $*" >&2
	[ ! -s "$tmp/log" ] || tail -n 40 "$tmp/log" >&2
	exit 1
}

say() {
	printf '%-9s %s\n' "$@"
}

# in_root COMMAND...: in the new system, or beside it
in_root() {
	if [ -n "$fresh" ]; then
		chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
	else
		local libs
		libs=$(dirname "$(find "$root" -name 'libsqlpool-client.so.0')")
		env LD_LIBRARY_PATH="$libs" "$root/usr/$1" "${@:2}"
	fi
}

# --- Build ---------------------------------------------------------------------

mkdir "$tmp/src"
git ls-files -co --exclude-standard | tar -cf - -T - | tar -xf - -C "$tmp/src"
(
	cd "$tmp/src"
	DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
		dpkg-buildpackage -us -uc
) >"$tmp/log" 2>&1 || fail "dpkg-buildpackage"
rm -rf "$tmp/src"
say "built" "$(cd "$tmp" && echo ./*.deb | sed 's,\./,,g')"
flags=
[ "$(id -u)" -ne 0 ] || flags=--allow-root
# shellcheck disable=SC2086
lintian $flags --fail-on error,warning "$tmp"/*.changes >"$tmp/log" 2>&1 ||
	fail "lintian"
say "lintian" "neither errors nor warnings"

# --- Install ---------------------------------------------------------------------

fresh=
if [ "$(id -u)" -eq 0 ] && command -v mountpoint >/dev/null && debootstrap --variant=minbase "$suite" "$root" \
	"$mirror" >"$tmp/log" 2>&1; then
	fresh=1
	install -m 755 /dev/stdin "$root/usr/sbin/policy-rc.d" <<-END
		#!/bin/sh
		exit 101
	END
	# systemd-tmpfiles wants it
	mount -t proc proc "$root/proc" || fail "/proc cannot be mounted in a chroot"
	mkdir "$root/debs"
	cp "$tmp"/*_*.deb "$root/debs"
	rm "$root"/debs/*-dbgsym_*
	{ in_root apt-get update -q && in_root sh -c \
		'apt-get install -y -q --no-install-recommends /debs/*.deb'; } \
		>"$tmp/log" 2>&1 || fail "cannot install"
	say "install" "into a fresh Debian ($suite)"
	[ "$(in_root stat -c '%U %G %a' /run/sqlpoold)" = "sqlpoold sqlpoold 750" ] ||
		fail "/run/sqlpoold is not there for the socket"
	in_root getent passwd sqlpoold >"$tmp/log" || fail "no user sqlpoold"
else
	echo "deb: no fresh Debian here (root and $mirror are needed): unpacking"
	for deb in "$tmp"/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
fi

# --- Run -----------------------------------------------------------------------

if [ -n "$fresh" ]; then
	in_root install -d -o sqlpoold -g sqlpoold -m 750 /var/lib/sqlpoold
	printf 'database app {\n\tpath = "/var/lib/sqlpoold/app.db"\n}\n' \
		>>"$root/etc/sqlpoold.conf"
	socket=/run/sqlpoold/sqlpoold.sock
	# its own number, since there may be other daemons outside
	# shellcheck disable=SC2016
	daemon=(runuser -u sqlpoold -- sh -c 'echo $$ >/run/sqlpoold/pid; exec "$@"'
		sh /usr/sbin/sqlpoold -c /etc/sqlpoold.conf -s "$socket")
	in_root "${daemon[@]}" -t >"$tmp/log" 2>&1 || fail "-t"
	cli=(/usr/bin/sqlpool-cli)
else
	socket=$tmp/socket
	daemon=(sbin/sqlpoold -u "$(id -u)" -s "$socket" "$tmp/app.db")
	cli=(bin/sqlpool-cli -s "$socket")
fi
mkfifo "$tmp/ready"
in_root "${daemon[@]}" >"$tmp/ready" 2>"$tmp/log" &
pid=$!
read -r -t 20 ready <"$tmp/ready" || fail "the daemon did not start"
say "daemon" "$ready"
answer=$(in_root "${cli[@]}" app "CREATE TABLE t(a)" \
	"INSERT INTO t VALUES (41)" "UPDATE t SET a = a + 1" "SELECT a FROM t") ||
	fail "no query"
[ "$answer" = 42 ] || fail "the answer is $answer"
say "query" "the answer is $answer"
if [ -n "$fresh" ]; then
	kill -TERM "$(cat "$root/run/sqlpoold/pid")"
else
	kill -TERM "$pid"
fi
wait "$pid" || fail "the daemon's exit status was $?"
pid=

# --- Remove ----------------------------------------------------------------------

if [ -n "$fresh" ]; then
	in_root apt-get purge -y -q sqlpoold sqlpool-cli libsqlpool-client-dev \
		libsqlpool-client0 >"$tmp/log" 2>&1 || fail "cannot be removed"
	left=$(cd "$root" && find etc usr lib -name '*sqlpool*')
	[ -z "$left" ] || fail "left behind: $left"
	[ -e "$root/var/lib/sqlpoold/app.db" ] || fail "it took the database along"
	say "purge" "nothing is left but the database"
fi
say "all well" ""
