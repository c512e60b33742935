#!/bin/sh
# A network of five nodes, the hello app on three, nodes killed under load; leaves nothing running.
# Exits 0 only if no request of class (a) failed.
set -eu
bin=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
data=$(mktemp -d)
export FLUXCLOUD_DATA="$data/demo"

"$bin/fluxcloud" up >"$data/up.log" 2>&1 &
up=$!

finish() {
    status=$?
    trap - EXIT INT TERM
    "$bin/fluxcloud" down -q >/dev/null 2>&1 || true
    wait "$up" 2>/dev/null || true
    rm -rf "$data"
    exit "$status"
}
trap finish EXIT INT TERM

if ! "$bin/fluxcloud" status --wait 60 -q >/dev/null; then
    cat "$data/up.log" >&2
    exit 1
fi
cat "$data/up.log"
"$bin/fluxcloud" demo failover "$@"
