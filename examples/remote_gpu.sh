#!/usr/bin/env bash
# Upscales a video on a remote machine with a GPU and vsr, over ssh: sends the video, receives the result.
#     examples/remote_gpu.sh HOST IN OUT.mkv [OPTION OF VSR]...
set -euo pipefail
host=$1 in=$2 out=$3
shift 3
part=$out.part
trap 'rm -f "$part"' EXIT
printf -v options ' %q' --format matroska --codec libx265 --crf 18 "$@"
ssh "$host" "vsr upscale - -$options" <"$in" >"$part"
mv "$part" "$out"
