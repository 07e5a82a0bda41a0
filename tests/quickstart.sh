#!/bin/bash
# The README's first command. Starts a daemon on a fresh database, loads
# UnicodeData.txt through 8 processes while 8 others read (quickstart/load.c),
# asks a question, stops the daemon, and compares the file with what was sent:
# by sqlite3's answer to the same question, row by row, and by its integrity
# check. Any difference, error or missing row fails it.
#
# TMPDIR chooses the disk. Everything is in one directory there, which is
# removed at the end, as is the daemon, also after an interrupt.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build/release}
sqlpoold=${SQLPOOLD:-$build/sqlpoold}
cli=${SQLPOOL_CLI:-$build/sqlpool-cli}
load=$build/tests/quickstart/load
data=/usr/share/unicode/UnicodeData.txt
stop_s=10

# One line of the file is one row, and the columns are its fields, unchanged,
# but for the first: https://www.unicode.org/reports/tr44/#UnicodeData.txt
schema="CREATE TABLE codepoint(code INTEGER PRIMARY KEY, name TEXT NOT NULL,
category TEXT NOT NULL, combining INTEGER, bidi TEXT, decomposition TEXT,
decimal INTEGER, digit INTEGER, numeric TEXT, mirrored TEXT, old_name TEXT,
comment TEXT, upper TEXT, lower TEXT, title TEXT)"
question="SELECT category, count(*) AS codepoints, min(name) AS 'a name'
FROM codepoint GROUP BY category ORDER BY codepoints DESC, category LIMIT 5"
as_file="SELECT printf('%04X', code), name, category, combining, bidi,
decomposition, decimal, digit, numeric, mirrored, old_name, comment, upper,
lower, title FROM codepoint ORDER BY code"

tmp=
pid=

cleanup() {
	if [ -n "$pid" ]; then
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	fi
	[ -z "$tmp" ] || rm -rf "$tmp"
}

fail() {
	printf '\nquickstart: FAILED: %s\n' "$*" >&2
	if [ -n "$tmp" ] && [ -s "$tmp/log" ]; then
		echo "the daemon's last words:" >&2
		tail -n 10 "$tmp/log" | sed 's/^/    /' >&2
	fi
	exit 1
}

say() {
	printf '%-9s %s\n' "$@"
}

indent() {
	sed 's/^/          /'
}

stat_value() {
	awk -F '|' -v name="$1" '$1 == name { print $2 }' "$tmp/stats"
}

# --- A daemon ------------------------------------------------------------------

started=$SECONDS
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
[ -r "$data" ] || fail "$data is missing: install the package unicode-data"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sqlpoold-quickstart.XXXXXX") ||
	fail "no temporary directory"
socket=$tmp/socket
db=$tmp/unicode.db
mkfifo "$tmp/ready" || fail "no temporary directory"

# How fast the disk is decides how fast commits can be.
before=${EPOCHREALTIME/./}
dd if=/dev/zero of="$tmp/disk" bs=4k count=50 oflag=dsync status=none ||
	fail "cannot write to $tmp"
sync_us=$(((${EPOCHREALTIME/./} - before) / 50))
rm "$tmp/disk"
say "machine" "$(nproc) CPUs; the database is on $(df --output=fstype,target \
	"$tmp" | awk 'NR == 2 { print $1 " at " $2 }'), where a synced write takes $(
	)$((sync_us / 1000)).$((sync_us % 1000 / 100)) ms now"
"$sqlpoold" -s "$socket" "$db" >"$tmp/ready" 2>"$tmp/log" &
pid=$!
read -r -t "$stop_s" ready <"$tmp/ready" || fail "the daemon did not start"
say "daemon" "$ready"

# --- The load ------------------------------------------------------------------

"$cli" -s "$socket" unicode "$schema" || fail "cannot make the table"
"$load" "$socket" unicode "$data"
case $? in
0) ;;
142) fail "loading took too long: is the disk very slow? (TMPDIR chooses it)" ;;
*) fail "the load went wrong, see above" ;;
esac
"$cli" -s "$socket" -box unicode "$question" >"$tmp/answer" ||
	fail "cannot ask for an answer"
say "question" "which are the five largest categories of code points?"
indent <"$tmp/answer"
"$cli" -s "$socket" @admin "SHOW STATS" >"$tmp/stats" ||
	fail "cannot ask for the statistics"
say "pool" 'its own figures: sqlpool-cli -s SOCKET @admin "SHOW STATS"'
for name in writes commits group_size_max write_us_max reads_inline \
	read_batches reads_heavy checkpoints errors external_busy; do
	grep "^$name|" "$tmp/stats"
done | awk -F '|' '{ printf "%8d  %-15s %s\n", $2, $1, $3 }' | indent
for name in errors external_busy; do
	[ "$(stat_value "$name")" = 0 ] || fail "the pool counted: $name"
done

# --- The end -------------------------------------------------------------------

kill -TERM "$pid" || fail "the daemon is gone already"
for ((i = 0; i < stop_s * 20; i++)); do
	kill -0 "$pid" 2>/dev/null || break
	sleep 0.05
done
! kill -0 "$pid" 2>/dev/null || fail "the daemon did not stop in $stop_s s"
wait "$pid"
status=$?
pid=
[ "$status" -eq 0 ] || fail "the daemon's exit status was $status"
[ ! -e "$socket" ] || fail "the daemon left its socket behind"
[ ! -s "$db-wal" ] || fail "the daemon left a WAL that is not empty"
say "stop" "SIGTERM: the daemon emptied the WAL and ended with status 0"

sqlite3 -box "$db" "$question" >"$tmp/answer-of-sqlite3" ||
	fail "sqlite3 cannot ask"
cmp -s "$tmp/answer" "$tmp/answer-of-sqlite3" || {
	diff "$tmp/answer" "$tmp/answer-of-sqlite3" >&2
	fail "sqlite3 answers otherwise (>) than the pool did (<)"
}
sqlite3 -list -separator ';' "$db" "$as_file" >"$tmp/file" ||
	fail "sqlite3 cannot read the rows"
cmp "$tmp/file" "$data" ||
	fail "the rows, written as a file, are not UnicodeData.txt"
check=$(sqlite3 "$db" "PRAGMA integrity_check")
[ "$check" = ok ] || fail "integrity_check says: $check"
say "file" "sqlite3 gives the same answer; the rows, written as text again, are"
say "" "UnicodeData.txt byte for byte; integrity_check says ok"
say "all well" "in $((SECONDS - started)) s; nothing is left behind"
