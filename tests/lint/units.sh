#!/bin/bash
# Verify the systemd units, and bound what they expose: systemd-analyze(1). Where
# that program is not installed, say so and pass.
set -euo pipefail
most=10 # tenths

if ! command -v systemd-analyze >/dev/null; then
	echo "units: skipped, there is no systemd-analyze (package systemd)" >&2
	exit 0
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The metrics need a place beside the socket, or none.
for unit in conf/*.socket; do
	dir=$(sed -n 's,^ListenStream=\(.*\)/.*,\1,p' "$unit")
	if ! grep -qe "^ReadWritePaths=-$dir\$" \
		-e '^Environment=SQLPOOLD_METRICS_SOCKET=off$' \
		"${unit%.socket}.service"; then
		echo "units: $unit: its service cannot write to $dir" >&2
		exit 1
	fi
done

# The program need not be installed, nor the users.
for unit in conf/*.service conf/*.socket; do
	sed -e 's,/usr/sbin/sqlpoold,/bin/true,' "$unit" >"$tmp/${unit##*/}"
done
for unit in "$tmp"/*; do
	name=${unit##*/}
	case $name in
	*@.*) name=${name/@./@daemon.} ;;
	esac
	[ -e "$tmp/$name" ] || cp "$unit" "$tmp/$name"
	systemd-analyze verify --man=no "$tmp/$name" 2>"$tmp/said" || true
	# what is wrong with the machine's own units is not ours
	if grep -F "$tmp/" "$tmp/said" >&2; then
		echo "units: ${unit##*/}: see above" >&2
		exit 1
	fi
	case $name in
	*.service)
		systemd-analyze security --offline=true --threshold=$most \
			"$tmp/$name" >"$tmp/said" || {
			cat "$tmp/said" >&2
			exit 1
		}
		;;
	esac
done
