#!/bin/bash
# Run test programs: those before --alone three at a time, which keeps two cores
# busy as they wait a lot, those after it one after another, since they
# measure. One line per program with its time, the full output of those that
# fail, and last the sum of the test cases.
#
# A Check program says how many cases it ran; another program that says nothing
# counts as one case. Each program gets a TMPDIR of its own, short enough for
# the path of a Unix socket.
set -u

limit_s=$((110 * ${CK_TIMEOUT_MULTIPLIER:-1}))

run_one() {
	local prog=$1 tmp=$2 name log start rc took ms summary checks bad
	name=${prog##*/}
	name=${name%.*}
	log=$tmp/$name.log
	mkdir -p "$tmp/$name"
	start=${EPOCHREALTIME/./}
	TMPDIR=$tmp/$name timeout -k 5 "$limit_s" "$prog" >"$log" 2>&1 </dev/null
	rc=$?
	took=$((${EPOCHREALTIME/./} - start))
	ms=$((took / 1000))
	summary=$(grep -aE '^[0-9]+%: Checks: [0-9]+, Failures: ' "$log" | tail -n 1)
	if [ -n "$summary" ]; then
		read -r checks bad < <(awk -F '[:, ]+' \
			'{ print $3, $5 + $7 }' <<<"$summary")
	else
		checks=1 bad=0
	fi
	if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		[ "$checks" -gt 0 ] || checks=1
	fi
	echo "$((checks - bad)) $bad" >"$tmp/$name.sum"
	if [ "$bad" -eq 0 ]; then
		printf 'ok    %-28s %4d  %3d.%03d s\n' "$name" "$checks" \
			$((ms / 1000)) $((ms % 1000))
		rm -rf "${tmp:?}/$name"
		return
	fi
	{
		printf 'FAIL  %-28s %4d  %3d.%03d s  (%d failed, exit status %d)\n' \
			"$name" "$checks" $((ms / 1000)) $((ms % 1000)) "$bad" "$rc"
		[ "$rc" -ne 124 ] || echo "stopped after $limit_s s"
		sed 's/^/      /' "$log"
	} >"$tmp/$name.out"
	cat "$tmp/$name.out"
}

if [ "${1-}" = --one ]; then
	run_one "$2" "$3"
	exit 0
fi

together=() alone=() seen=
for arg in "$@"; do
	if [ "$arg" = --alone ]; then
		seen=1
	elif [ -n "$seen" ]; then
		alone+=("$arg")
	else
		together+=("$arg")
	fi
done

tmp=$(mktemp -d /tmp/sqlpool-check.XXXXXX) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

if [ ${#together[@]} -gt 0 ]; then
	printf '%s\0' "${together[@]}" |
		xargs -0 -P 3 -I '{}' "$0" --one '{}' "$tmp"
fi
for prog in "${alone[@]}"; do
	run_one "$prog" "$tmp"
done

read -r passed failed < <(cat "$tmp"/*.sum 2>/dev/null |
	awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
