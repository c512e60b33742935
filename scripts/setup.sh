#!/bin/sh
# Set up $1 (.venv) with the package and its tools; as root also the Debian packages that the embedded engines use.
set -eu
venv=${1:-.venv}
python=${PYTHON:-python3}

say() { printf '%s\n' "setup: $*" >&2; }

sh "$(dirname "$0")/packages.sh" bwrap=bubblewrap busybox=busybox-static nft=nftables setpriv=util-linux
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || sh "$(dirname "$0")/packages.sh" no-venv=python3-venv

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed"; exit 1; }
say "python environment in $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r constraints.txt
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
"$venv/bin/python" -m compileall -q "$venv/lib" src >/dev/null 2>&1 || true
touch "$venv/.installed"
