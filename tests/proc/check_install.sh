#!/bin/bash
# Install into a scratch root, build a program against what is there, uninstall:
# nothing is left. Prints the line that tests/run.sh counts.
set -u
# what is installed is the release build, whatever else is being tested
case ${BUILD-/release} in
*/release) ;;
*)
	echo "100%: Checks: 0, Failures: 0, Errors: 0"
	exit 0
	;;
esac
top=$(cd "$(dirname "$0")/../.." && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
passed=0 failed=0

check() { # check NAME COMMAND...
	if "${@:2}" >"$root.log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
		cat "$root.log"
	fi
	rm -f "$root.log"
}

make_it() {
	env -u MAKEFLAGS -u MAKELEVEL make -C "$top" --no-print-directory VARIANT=release "$1" \
		DESTDIR="$root" PREFIX=/usr
}

build_example() {
	local lib flags
	lib=$(dirname "$(find "$root/usr/lib" -name libsqlpool-client.a)")
	flags=$(PKG_CONFIG_PATH="$lib/pkgconfig" \
		PKG_CONFIG_SYSROOT_DIR="$root" \
		pkg-config --cflags --libs sqlpool-client) || return 1
	# shellcheck disable=SC2086
	gcc -o "$root/sync" "$root/usr/share/doc/sqlpoold/examples/sync.c" \
		-I"$root/usr/include" -L"$lib" $flags || return 1
	LD_LIBRARY_PATH="$lib" ldd "$root/sync" | grep -q libsqlpool-client.so.0
	rm -f "$root/sync"
}

has_files() {
	[ -x "$root/usr/sbin/sqlpoold" ] && [ -x "$root/usr/bin/sqlpool-cli" ] &&
		[ -f "$root/usr/include/sqlpool.h" ]
}

is_empty() {
	local left
	left=$(find "$root" -type f -o -type l)
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

check install_succeeds make_it install
check install_puts_the_programs_and_the_header has_files
check a_program_builds_with_pkg_config build_example
check uninstall_succeeds make_it uninstall
check uninstall_leaves_nothing is_empty
total=$((passed + failed))
echo "$((100 * passed / total))%: Checks: $total, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
