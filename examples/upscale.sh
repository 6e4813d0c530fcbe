#!/bin/sh
# Upscales the example clip by four. Sets everything up on a machine that has Python 3.11 or newer and nothing else.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/vsr ]; then
    python3 -m venv .venv
    .venv/bin/pip install -q .
fi
.venv/bin/vsr upscale examples/butterfly_240x136.mp4 "${1:-butterfly_x4.mp4}" --scale 4 --overwrite
