#!/bin/sh
# Prepare what the build needs: Debian packages where they are missing, a fit interpreter, .venv with all
# dependencies and the package itself, editable. Safe to repeat. Used by `make build`.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

# An interpreter is fit when it is 3.11 or later, can make a virtual environment and has its C headers.
is_fit() {
    command -v "$1" >/dev/null 2>&1 && "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(header)))
PYTHON
}

find_python() {
    for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if is_fit "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

missing_packages() {
    for package in "$@"; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || echo "$package"
    done
}

install_packages() {
    wanted=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$wanted" ] || return 0
    [ "$(id -u)" = 0 ] || fail "these packages are missing: ${wanted}- install them as root with: apt-get install $wanted"
    echo "setup: installing $wanted" >&2
    export DEBIAN_FRONTEND=noninteractive
    # Package lists may be absent or stale on a fresh machine: refresh them only when the first try fails.
    apt-get install -qq -y --no-install-recommends $wanted </dev/null >/dev/null 2>&1 && return 0
    apt-get update -qq </dev/null && apt-get install -qq -y --no-install-recommends $wanted </dev/null >/dev/null ||
        fail "apt-get could not install: $wanted"
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    packages="gcc libc6-dev libnetfilter-queue-dev iptables nftables iproute2 iperf3 curl ethtool"
    [ -n "$(find_python)" ] || packages="$packages python3 python3-venv python3-dev"
    # shellcheck disable=SC2086  # a list of words is meant
    install_packages $packages
else
    echo "setup: no apt-get here; gcc, libnetfilter_queue headers, iptables, nft, ip, tc, iperf3, curl and ethtool are taken as present" >&2
fi

python=$(find_python)
[ -n "$python" ] || fail "no Python of version 3.11 or later with venv and C headers was found; set PYTHON=/path/to/python3"

# An environment whose interpreter has gone (an upgraded system, a moved clone) is made anew.
.venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || "$python" -m venv --clear .venv

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
echo "setup: Python packages into .venv"
.venv/bin/python -m pip install -q "setuptools>=77" "Cython>=3.1,<4" wheel </dev/null
echo "setup: compiling mpcore (a minute or two; the log is build/cython.log)"
tools/build.sh .venv/bin/python -m pip install -v --no-build-isolation --editable ".[test,lint]" </dev/null
touch .venv/fresh # everything is compiled, in place
