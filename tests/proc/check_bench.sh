#!/bin/bash
# Run sqlpool-bench against a daemon: each kind of operation, what it prints and
# counts, and what it refuses. Prints the line that tests/run.sh counts.
set -u
bench=${SQLPOOL_BENCH:-$BUILD/sqlpool-bench}
dir=$(mktemp -d)
socket=$dir/s
manual=$(dirname "$0")/../../client/bench/sqlpool-bench.1
passed=0 failed=0 daemon=

stop_daemon() { # stop_daemon [SIGNAL]
	[ -z "$daemon" ] || kill "-${1:-TERM}" "$daemon"
	wait "$daemon" 2>/dev/null
	daemon=
}
trap 'stop_daemon KILL; rm -rf "$dir"' EXIT

start_daemon() {
	local line
	mkfifo "$dir/ready"
	"$SQLPOOLD" -s "$socket" "$dir/app.db" >"$dir/ready" 2>&1 &
	daemon=$!
	exec 3<"$dir/ready"
	read -r line <&3
	case $line in
	*ready*) ;;
	*)
		echo "the daemon said: $line"
		exit 1
		;;
	esac
	cat <&3 >"$dir/log" &
	exec 3<&-
	rm "$dir/ready"
}

check() { # check NAME COMMAND...
	if "${@:2}" >"$dir/out" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
		cat "$dir/out"
	fi
}

sql() {
	"$SQLPOOL_CLI" -s "$socket" app "$@"
}

run() { # run ARGUMENT... : figures on standard output
	"$bench" -s "$socket" "$@" app
}

# The JSON of a run, judged by Python expressions that must all be true; r is the
# object.
judge() { # judge EXPRESSION ARGUMENT...
	run --json "${@:2}" >"$dir/json" || return 1
	/usr/bin/python3 - "$dir/json" "$1" <<-'END'
		import json, sys
		r = json.load(open(sys.argv[1]))
		for e in sys.argv[2].split(" and "):
		    assert eval(e), f"not {e}: {json.dumps(r)}"
	END
}

# It must fail with this status, say this on standard error, and print nothing.
refuses() { # refuses STATUS TEXT ARGUMENT...
	local status
	"$bench" "${@:3}" >"$dir/stdout" 2>"$dir/stderr"
	status=$?
	cat "$dir/stdout" "$dir/stderr"
	[ "$status" -eq "$1" ] && [ ! -s "$dir/stdout" ] &&
		grep -qF -- "$2" "$dir/stderr"
}

has_tables() {
	[ "$(sql "SELECT count(*), min(length(c)), max(length(c)), sum(n),
		sum(substr(c, 1, 10) = printf('%010d', id)) FROM bench")" = \
		"2000|50|50|0|2000" ] &&
		[ "$(sql "SELECT (SELECT count(*) FROM bench_accounts),
			(SELECT count(*) FROM bench_tellers)")" = "100000|10" ]
}

adds_up() {
	local before
	before=$(sql "SELECT sum(n) FROM bench")
	judge 'r["ops"] == 200' -m write,rmw -n 50 -c 4 &&
		[ "$(sql "SELECT sum(n) FROM bench")" -eq $((before + 200)) ]
}

prints_text() {
	run -m mixed -n 50 -c 2 --per-client >"$dir/text" || return 1
	cat "$dir/text"
	grep -q '^measured   sqlpoold .*database "app"' "$dir/text" &&
		grep -q '^machine    [0-9]* CPUs, ' "$dir/text" &&
		grep -q '^us .* p50 .* p99.99 .*max$' "$dir/text" &&
		grep -q '^all  *100 ' "$dir/text" &&
		grep -q '^busiest    50 operations; least busy 50; ratio 1.000' \
			"$dir/text" &&
		grep -q '^client 1   50$' "$dir/text"
}

# A trigger that adds another 1 makes the sum wrong, and nothing else.
tells_a_wrong_sum() {
	local rc
	sql "CREATE TRIGGER twice AFTER UPDATE ON bench BEGIN
		UPDATE bench SET n = n + 1 WHERE id = new.id; END" || return 1
	refuses 1 "20 writes were acknowledged, but 40 are in the database" \
		-s "$socket" -m write -n 10 -c 2
	rc=$?
	sql "DROP TRIGGER twice" && return $rc
}

tells_a_wrong_row() { # tells_a_wrong_row KIND
	local rc
	sql "CREATE TABLE kept AS SELECT c FROM bench WHERE id = 7" \
		"UPDATE bench SET c = replace(c, 'a', 'b') WHERE id = 7" || return 1
	refuses 1 "is not what --init wrote" \
		-s "$socket" -m "$1" -k serial -n 8 -c 1 -d 2
	rc=$?
	sql "UPDATE bench SET c = (SELECT c FROM kept) WHERE id = 7" \
		"DROP TABLE kept" && return $rc
}

# Kill the daemon as soon as something was written.
tells_a_lost_daemon() {
	local rc pid
	sql "UPDATE bench SET n = 0" || return 1
	run -m write -c 4 -T 60 >"$dir/stdout" 2>"$dir/stderr" &
	pid=$!
	until [ "$(sql "SELECT sum(n) > 100 FROM bench")" = 1 ]; do
		kill -0 $pid || return 1
	done
	stop_daemon KILL
	wait $pid
	rc=$?
	cat "$dir/stdout" "$dir/stderr"
	[ $rc -eq 1 ] && [ ! -s "$dir/stdout" ] &&
		grep -q "write by client .*CONNECTION_LOST" "$dir/stderr"
}

lists_every_option() {
	"$bench" --help >"$dir/help" || return 1
	local option
	for option in socket init clients processes threads depth time count \
		rate mix sql keys rows range-rows large-rows bulk-rows text-bytes \
		scale warmup seed json per-client option quiet help version; do
		if ! grep -qe "--$option" "$dir/help" ||
			! grep -qe "Fl -$option" "$manual"; then
			echo "$option"
			return 1
		fi
	done
}

keeps_a_table_of_somebodys_own() {
	local rc
	sql "CREATE TABLE bench(mine)" || return 1
	refuses 2 "table bench has other columns" -s "$socket" --init
	rc=$?
	sql "DROP TABLE bench" && return $rc
}

start_daemon
check help_and_manual_list_every_option lists_every_option
check a_missing_table_is_told_with_its_remedy refuses 2 \
	"no such table: bench: make the tables with: sqlpool-bench -s $socket --init app" \
	-s "$socket" -T 1
check init_keeps_a_table_of_somebodys_own keeps_a_table_of_somebodys_own
check init_succeeds run --init --rows 2000 --text-bytes 50
check init_makes_the_tables has_tables

exact='r["ops"] == 80 and sum(r["per_client"]) == 80 and r["busiest_to_least"] == 1'
for kind in read range write rmw tpcb large bulk ping; do
	check "${kind}_is_counted_exactly" judge \
		"$exact and r['kinds']['$kind']['ops'] == 80" \
		-m $kind -n 20 -c 4 --large-rows 1000 --bulk-rows 50
done
for keys in uniform zipf serial own; do
	check "keys_${keys}_exist" judge "$exact" -n 20 -c 4 -k $keys
done
all=read=50,range=5,write=10,rmw=5,tpcb=5,large=2,bulk=5,ping=5
check all_kinds_run_beside_each_other judge \
	'r["ops"] == 400 and len(r["kinds"]) == 8' \
	-m $all -n 100 -c 4 --large-rows 1000 --bulk-rows 50
check many_clients_share_threads judge \
	'r["ops"] == 5000 and r["processes"] == 3 and r["threads"] == 2' \
	-m read=8,write=1,range=1,large=1 -n 100 -c 50 -j 3 -t 2 -d 4 \
	--large-rows 1000
check statements_can_be_sent_as_text judge 'r["ops"] == 160' \
	-m read,write,rmw,tpcb -n 40 -c 4 -o prepare=no
check a_transaction_can_be_one_request judge 'r["ops"] == 160' \
	-m tpcb -o tpcb=batch -n 40 -c 4 -d 4
check a_time_is_kept judge \
	'r["seconds"] == 0.3 and r["ops"] > 0 and r["kinds"]["read"]["ops"] > r["kinds"]["write"]["ops"]' \
	-m mixed -T 0.3 --warmup 0.1 -c 4
check an_open_loop_does_what_is_due judge \
	'r["ops"] <= 240 and r["ops"] + r["unsent"] >= 190 and r["rate"] == 400' \
	-R 400 -T 0.5 --warmup 0.1 -c 4
check percentiles_are_in_order judge \
	'sorted(list(r["latency_us"].values())[1:]) == list(r["latency_us"].values())[1:] and 0 < r["latency_us"]["mean"] <= r["latency_us"]["max"] and r["cpu_us_per_op"] > 0' \
	-n 200 -c 2
check sums_agree_with_what_was_acknowledged adds_up
check own_sql_runs_with_a_key judge 'r["rows"] == r["ops"] == 80' \
	--rows 2000 -n 20 -c 4 -d 4 \
	--sql 'SELECT c, :random FROM bench WHERE id = :key'
check own_sql_may_write judge 'r["rows"] == 80' \
	--sql 'INSERT INTO bench_bulk(n, c) VALUES (:key, 1)' -n 20 -c 4
check text_has_every_part prints_text
check a_wrong_sum_is_told tells_a_wrong_sum
check wrong_sql_is_told refuses 2 'near "SELEC": syntax error' \
	-s "$socket" --sql SELEC
check other_parameters_are_refused refuses 2 "the parameters :key and :random" \
	-s "$socket" --sql 'SELECT ?1'
check more_rows_than_there_are_is_told refuses 2 \
	"--init --rows 3000 app" -s "$socket" --rows 3000
check an_unknown_option_is_told refuses 2 "unknown option --nix" --nix
check an_unknown_database_is_told refuses 2 "this daemon serves: app" \
	-s "$socket" nix
check an_error_of_sql_ends_the_run refuses 1 SQLITE_CONSTRAINT_NOTNULL \
	-s "$socket" --sql 'INSERT INTO bench(n) VALUES (NULL)' -n 5 -c 2
check a_wrong_point_read_is_told tells_a_wrong_row read
check a_wrong_large_result_is_told tells_a_wrong_row large
check a_lost_daemon_is_told tells_a_lost_daemon
check no_daemon_is_told refuses 2 "cannot connect to the daemon at $socket" \
	-s "$socket"

total=$((passed + failed))
echo "$((100 * passed / total))%: Checks: $total, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
