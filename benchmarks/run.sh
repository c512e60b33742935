#!/bin/sh
# Print every figure of docs/benchmarks.md, with machine and commit. Takes some 45 minutes; a quiet machine gives steadier ones.
# `sh benchmarks/run.sh NAME …` runs only these.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python

echo "machine  $(nproc) cores, $(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
echo "system   $(uname -sr), Python $($python -c 'import platform; print(platform.python_version())')"
echo "commit   $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

all="tree ledger chain scheduler liveness ledger_state probes proxy proxy_haproxy runtime runtime_docker up deploy failover engines"
for name in ${*:-$all}; do
    echo
    echo "== benchmarks/$name.py"
    if [ "$name" = proxy_haproxy ] && ! command -v wrk >/dev/null; then
        echo "needs wrk: make engines, as root"
        continue
    fi
    $python "benchmarks/$name.py"
done
