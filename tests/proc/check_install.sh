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
lib='' pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$root"' EXIT
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

# flags_of OPTION... PACKAGE: from what was installed
flags_of() {
	PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root \
		pkg-config --cflags --libs "$@" | sed "s,$root$root,$root,g"
}

# The system's own packages are not below the scratch root.
system_flags_of() {
	pkg-config --cflags --libs "$@"
}

find_library() {
	lib=$(dirname "$(find "$root/usr/lib" -name libsqlpool-client.a)")
	[ -f "$lib/pkgconfig/sqlpool-client.pc" ]
}

say_first_note() { # say_first_note PROGRAM
	"$1" "$root/s" app | grep -q "^[12] a first note$"
}

build_shared() {
	local flags
	flags=$(flags_of sqlpool-client) || return 1
	# shellcheck disable=SC2086
	gcc -o "$root/shared" "$root/usr/share/doc/sqlpoold/examples/sync.c" \
		-I"$root/usr/include" -L"$lib" $flags || return 1
	LD_LIBRARY_PATH=$lib ldd "$root/shared" | grep -q libsqlpool-client.so.0
}

build_static() {
	local flags
	flags=$(flags_of --static sqlpool-client) || return 1
	# shellcheck disable=SC2086
	gcc -static -o "$root/static" \
		"$root/usr/share/doc/sqlpoold/examples/sync.c" \
		-I"$root/usr/include" -L"$lib" $flags
}

# The oldest C++ that the headers are for, and a newer one.
build_cxx() {
	local flags std
	flags="$(flags_of sqlpool-client) $(system_flags_of libevent_core libuv)"
	for std in c++11 c++20; do
		# shellcheck disable=SC2086
		g++ -std=$std -Wall -Wextra -Wpedantic -Werror -o "$root/cxx" \
			"$top/tests/proc/client.cc" -I"$root/usr/include" \
			-L"$lib" $flags || return 1
	done
}

# Nothing but the C library and msgpack-c, and nothing but what the map says.
needs_little() {
	local so=$lib/libsqlpool-client.so.0 more
	more=$(objdump -p "$so" | awk '$1 == "NEEDED" { print $2 }' |
		grep -v -e '^libc\.so' -e '^libmsgpack')
	[ -z "$more" ] || { echo "needs $more"; return 1; }
	objdump -p "$so" | grep -q 'SONAME *libsqlpool-client.so.0$' || return 1
	more=$(nm -D --defined-only "$so" |
		grep -v -e ' sqlpool_[a-z0-9_]*@@SQLPOOL_0$' -e ' SQLPOOL_0$')
	[ -z "$more" ] || { echo "gives $more"; return 1; }
	more=$(nm --defined-only --extern-only "$lib/libsqlpool-client.a" |
		awk 'NF == 3 && $3 !~ /^sqlpool_/')
	[ -z "$more" ] || { echo "the archive gives $more"; return 1; }
}

start_daemon() {
	mkfifo "$root/ready"
	"$root/usr/sbin/sqlpoold" -u "$(id -un)" -s "$root/s" "$root/app.db" \
		>"$root/ready" 2>"$root/log" &
	pid=$!
	read -r _ <"$root/ready" || { cat "$root/log"; return 1; }
}

run_cxx() {
	[ "$(LD_LIBRARY_PATH=$lib "$root/cxx" "$root/s" app)" = ok ]
}

run_shared() {
	LD_LIBRARY_PATH=$lib say_first_note "$root/shared"
}

stop_daemon() {
	kill "$pid" && wait "$pid"
	local rc=$?
	pid=
	rm -f "$root"/{ready,log,shared,static,cxx,app.db}
	return $rc
}

has_files() {
	[ -x "$root/usr/sbin/sqlpoold" ] && [ -x "$root/usr/bin/sqlpool-cli" ] &&
		[ -f "$root/usr/include/sqlpool.h" ] &&
		[ -f "$root/usr/include/sqlpool_libevent.h" ]
}

is_empty() {
	local left
	left=$(find "$root" -type f -o -type l)
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

check install_succeeds make_it install
check install_puts_the_programs_and_the_header has_files
check the_library_is_found find_library
check the_library_needs_little_and_gives_no_more_than_it_should needs_little
check a_program_builds_with_pkg_config build_shared
check a_program_builds_with_pkg_config_static build_static
check a_program_in_cxx_builds_without_a_warning build_cxx
check the_installed_daemon_starts start_daemon
check the_program_runs run_shared
check the_static_program_runs say_first_note "$root/static"
check the_program_in_cxx_runs run_cxx
check the_installed_daemon_stops stop_daemon
check uninstall_succeeds make_it uninstall
check uninstall_leaves_nothing is_empty
total=$((passed + failed))
echo "$((100 * passed / total))%: Checks: $total, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
