#!/bin/sh
# Upscales all videos below a folder, and tries those that failed once more with their damaged frames replaced.
# Finished videos are skipped, so that it can be run every night: examples/batch_folder.sh VIDEOS OUT [OPTION]...
set -eu
videos=$1 out=$2
shift 2
vsr=$(command -v vsr || echo "$(dirname "$0")/../.venv/bin/vsr")

status=0
"$vsr" batch -r "$videos" "$out" "$@" || status=$?
if [ "$status" -eq 3 ]; then
    echo "$0: some videos failed; once more with --keep-going" >&2
    "$vsr" batch -r "$videos" "$out" "$@" --keep-going --json "$out/report.json"
fi
exit $((status == 3 ? 0 : status))
