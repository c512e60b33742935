#!/bin/sh
# Install the Debian packages of what is missing here, as root; else say which. Arguments: PROGRAM[=PACKAGE]...
set -eu
say() { printf '%s\n' "setup: $*" >&2; }

PATH="$PATH:/usr/sbin:/sbin"
missing=""
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "not installed:$missing (ask root for: apt-get install$missing)"
    exit 0
fi
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
