#!/bin/bash
# shellcheck disable=SC2317 # compopt is called by what is sourced
# The completion offers each option that --help lists, and no other. Prints the
# line that tests/run.sh counts.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build/release}
passed=0 failed=0
PATH=$build:$PATH

# What of a program's --help looks like an option, in its first columns.
list_options() {
	"$1" --help | sed -n 's/^ \{1,6\}\(-.*\)/\1/p' |
		sed 's/  .*//; s/\[no\]header/header -noheader/' |
		grep -oE -- '(^|[ ,])--?[A-Za-z][a-zA-Z-]*' | tr -d ' ,' | sort -u
}

# What completes "-" behind a program's name; "=" and what is behind it is not
# part of the name.
list_completed() {
	# shellcheck source=/dev/null
	(
		source conf/completion.bash
		compopt() { :; } # bash has it in completions only
		COMP_WORDS=("$1" -)
		COMP_CWORD=1
		COMPREPLY=()
		"_${1//-/_}"
		printf '%s\n' "${COMPREPLY[@]}"
	) | sed 's/=.*//' | sort -u
}

check() { # check NAME COMMAND...
	if "${@:2}"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
	fi
}

is_complete() {
	local options
	options=$(list_options "$1")
	[ "$(wc -l <<<"$options")" -gt 10 ] || {
		echo "--help of $1 is not understood: $options"
		return 1
	}
	diff <(echo "$options") <(list_completed "$1")
}

knows_option_names() {
	# shellcheck source=/dev/null
	(
		source conf/completion.bash
		compopt() { :; } # bash has it in completions only
		COMP_WORDS=("$(command -v sqlpoold)" -o max_cli)
		COMP_CWORD=2
		COMPREPLY=()
		_sqlpoold
		[ "${COMPREPLY[*]}" = "max_clients= max_client_bytes=" ] || {
			echo "${COMPREPLY[*]}"
			exit 1
		}
	)
}

for program in sqlpoold sqlpool-cli sqlpool-bench; do
	check "${program}_is_complete" is_complete "$program"
done
check sqlpoold_knows_option_names knows_option_names
total=$((passed + failed))
echo "$((100 * passed / total))%: Checks: $total, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
