#!/bin/sh
# Build all compiled modules with the address and undefined-behaviour sanitizers, in a copy of the tree below build/,
# and run the tests of the data plane there. Takes some minutes. Usage: tools/sanitize.sh [PYTEST ARGUMENT]...
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
preload=$(${CC:-gcc} -print-file-name=libasan.so)
if [ ! -e "$preload" ]; then
    echo "sanitize: the compiler has no libasan.so: install gcc's sanitizer libraries" >&2
    exit 1
fi
tree=build/sanitized
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z | xargs -0 cp --parents -t "$tree"
cd "$tree"
flags="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
CFLAGS=$flags LDFLAGS=$flags MPCORE_DEBUG=1 "$python" setup.py -q build_ext --inplace
[ $# -gt 0 ] || set -- tests/mptcp tests/shim6 tests/store tests/wire tests/sim
# with the interpreter's own pools small objects would sit in one block that the sanitizer thinks whole
LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
    exec "$python" -m pytest -q -p no:cacheprovider --timeout 1200 "$@"
