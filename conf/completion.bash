# Completion of sqlpoold, sqlpool-cli and sqlpool-bench for bash(1); installed
# once for each of these names. A test holds it equal to what --help lists.

_sqlpool_words() { # _sqlpool_words CURRENT WORD...
	mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "$1")
	# an option that takes "=" goes on behind it
	[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}

_sqlpool_files() {
	compopt -o filenames
	mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_sqlpoold() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	case $before in
	-c | --config | -s | --socket) _sqlpool_files "$current" ;;
	-u | --user) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
	-o | --option)
		# the names that the program knows itself
		_sqlpool_words "$current" "$("${COMP_WORDS[0]}" -T 2>/dev/null |
			sed -n 's/^\([a-z_]*\) = .*/\1=/p')"
		;;
	*)
		case $current in
		-*) _sqlpool_words "$current" -c --config -s --socket -u --user \
			-o --option -t --test -T -T=changed --print --print=changed \
			-v --verbose -V --version -h --help ;;
		*) _sqlpool_files "$current" ;;
		esac
		;;
	esac
}

_sqlpool_cli() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	case $before in
	-s) _sqlpool_files "$current" ;;
	-cmd | -newline | -nullvalue | -separator) ;;
	*)
		case $current in
		-*) _sqlpool_words "$current" -s -ascii -bail -batch -box -cmd \
			-column -csv -echo -header -noheader -help -html \
			-interactive -json -line -list -markdown -metrics -newline \
			-nullvalue -quote -separator -stat -table -tabs -top -version ;;
		*) _sqlpool_words "$current" @admin ;;
		esac
		;;
	esac
}

_sqlpool_bench() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	case $before in
	-s | --socket) _sqlpool_files "$current" ;;
	-m | --mix) _sqlpool_words "$current" read range write rmw tpcb large \
		bulk sql ping mixed ;;
	-k | --keys) _sqlpool_words "$current" uniform zipf serial own ;;
	*)
		case $current in
		-*) _sqlpool_words "$current" -m --mix= --sql= -k --keys= --rows= \
			--range-rows= --large-rows= --bulk-rows= --text-bytes= \
			--scale= --seed= -c --clients= -j --processes= -t \
			--threads= -d --depth= -R --rate= -T --time= -n --count= \
			--warmup= -s --socket= -o --option= -i --init --json \
			--per-client -q --quiet --help --version ;;
		esac
		;;
	esac
}

complete -F _sqlpoold sqlpoold
complete -F _sqlpool_cli sqlpool-cli
complete -F _sqlpool_bench sqlpool-bench
