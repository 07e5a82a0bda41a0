#!/bin/sh
# Compare the options in sqlpoold.conf(5) with those in the example file, which
# a test holds equal to conf/options.def: the order, the defaults, the ranges.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# "# text (range)", perhaps over several lines, then "#name = default".
awk '
	/^# / { text = text substr($0, 2); next }
	/^#[a-z_]+ = / {
		sub(/.*\(/, "(", text)
		print substr($0, 2), text
	}
	{ text = "" }
' sqlpoold.conf.example >"$tmp/example"

# ".It Ic name = default", text, and as the last line of it ".Pq range".
awk '
	function flush() {
		if (head != "") print head, "(" range ")"
		head = range = ""
	}
	/^\.It Ic .* = / {
		flush()
		head = substr($0, 8)
		gsub(/\\\(dq/, "\"", head)
	}
	/^\.Pq / { range = substr($0, 5) }
	/^\.El/ { flush() }
	END { flush() }
' conf/sqlpoold.conf.5 >"$tmp/manual"

if ! [ -s "$tmp/manual" ] || ! diff -u "$tmp/example" "$tmp/manual"; then
	echo "conf/sqlpoold.conf.5 (+) differs from the options (-)" >&2
	exit 1
fi

# Those that need a restart, but for the path, which is the database.
awk -F'[(, ]+' '
	/^OPTION/ { name = $4 }
	/ FIXED,$/ && name != "path" { print name }
' conf/options.def >"$tmp/fixed"
sed -n '/need a restart/,/^\.Pp/s/^\.Ic \([a-z_]*\).*/\1/p' \
	conf/sqlpoold.conf.5 >"$tmp/restart"
if ! [ -s "$tmp/fixed" ] || ! diff -u "$tmp/fixed" "$tmp/restart"; then
	echo "conf/sqlpoold.conf.5 (+): what needs a restart is this (-)" >&2
	exit 1
fi
