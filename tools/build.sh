#!/bin/sh
# Run a command that compiles the Cython modules; keep its log in build/cython.log. Fail when the command fails,
# or when Cython says "performance hint": such a function would take the GIL once a packet, and no compiler flag
# turns that hint into an error.
set -eu
cd "$(dirname "$0")/.."

log=build/cython.log
mkdir -p build
if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "build: failed; the whole log is in $log" >&2
    exit 1
fi
if grep -n -A 12 "performance hint" "$log" >&2; then
    # Without this the next run would find the C files up to date and say nothing.
    rm -rf build/cython
    echo "build: Cython found a function that takes the GIL; declare it 'noexcept nogil' in the .pxd and the .pyx" >&2
    exit 1
fi
