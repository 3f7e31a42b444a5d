#!/bin/sh
# Build the wheel, install it with its dependencies where no checkout is, and use it there. Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

# What an earlier build left there would get into the wheel.
rm -rf build/lib build/lib.*
.venv/bin/python -m pip wheel -q --no-build-isolation --no-deps --wheel-dir "$folder" . </dev/null
.venv/bin/python tools/wheel_contents.py "$folder"/mpcore-*.whl
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q "$folder"/mpcore-*.whl </dev/null
cd "$folder"
venv/bin/mpcore --help >help.txt
venv/bin/python -c "import mpcore.endpoint, mpcore.host.daemon"
echo "wheel: complete, and runs without the checkout"
