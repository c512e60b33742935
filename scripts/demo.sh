#!/bin/sh
# A network of five nodes, the hello app on three, nodes killed under load; leaves nothing running. On the real engines
# where they are there: Docker to run the copies, HAProxy in front of them.
# Exits 0 only if no request of class (a) failed.
set -eu
bin=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
data=$(mktemp -d)
export FLUXCLOUD_DATA="$data/demo"

find_docker='from fluxcloud.cli.dockercopies import find_socket; print(find_socket())'
if socket=$("$bin/python" -c "$find_docker" 2>/dev/null); then
    engine=docker
    echo "engine    docker: one answers at $socket"
else
    engine=oci
    echo "engine    oci, the built-in one: no Docker that this user may use answers here"
fi
if command -v setpriv >/dev/null && haproxy -v 2>/dev/null | grep -q "version 2\.6"; then
    proxy=haproxy
    echo "proxies   haproxy: $(haproxy -v | head -n 1)"
else
    proxy=embedded
    echo "proxies   embedded, the built-in one: no HAProxy 2.6 is installed here"
fi

"$bin/fluxcloud" up --engine "$engine" --proxy "$proxy" >"$data/up.log" 2>&1 &
up=$!

finish() {
    status=$?
    trap - EXIT INT TERM
    "$bin/fluxcloud" down --delete -q >/dev/null 2>&1 || true
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
"$bin/fluxcloud" demo failover --engine "$engine" --proxy "$proxy" "$@"
