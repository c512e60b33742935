#!/bin/sh
# Set up $1 (.venv) with the package and its tools; as root also the Debian packages that the embedded engines use.
set -eu
venv=${1:-.venv}
python=${PYTHON:-python3}

say() { printf '%s\n' "setup: $*" >&2; }

missing=""
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
[ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || missing="$missing busybox-static"
command -v nft >/dev/null 2>&1 || missing="$missing nftables"
[ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
command -v setpriv >/dev/null 2>&1 || missing="$missing util-linux"
command -v dockerd >/dev/null 2>&1 || missing="$missing docker.io"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry"
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
            apt-get update -qq >/dev/null
            apt-get install -y -qq --no-install-recommends $missing >/dev/null
        }
        # Tests start registries of their own; the package's service would listen on all addresses.
        case "$missing" in
            *docker-registry*) systemctl disable --now docker-registry >/dev/null 2>&1 || : ;;
        esac
    else
        say "not installed:$missing (ask root for: apt-get install$missing)"
    fi
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed"; exit 1; }
say "python environment in $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r constraints.txt
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
"$venv/bin/python" -m compileall -q "$venv/lib" src >/dev/null 2>&1 || true
touch "$venv/.installed"
