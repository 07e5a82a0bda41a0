#!/bin/sh
# Print the line coverage of sources: cover.sh BUILD SOURCE...
set -eu
build=$1
shift

for src in "$@"; do
	for obj in "$build/${src%.c}" "$build/pic/${src%.c}"; do
		[ ! -f "$obj.gcda" ] || gcov -n -o "$obj.gcda" "$src" 2>/dev/null
	done
done | awk -F "[':% ]+" '
	/^File / { file = $2 }
	/^Lines executed/ && file ~ /\.c$/ {
		if ($3 + 0 > best[file]) best[file] = $3 + 0
		if (!(file in lines)) { lines[file] = $5; order[++n] = file }
		file = ""
	}
	END {
		for (i = 1; i <= n; i++) {
			f = order[i]
			printf "%6.1f %%  %5d  %s\n", best[f], lines[f], f
			sum += lines[f]; hit += lines[f] * best[f] / 100
		}
		if (sum) printf "%6.1f %%  %5d  in all\n", 100 * hit / sum, sum
	}'
