#!/usr/bin/env bash
# ffmpeg decodes, vsr upscales, ffmpeg encodes, without temporary files; audio is copied from the source.
#     examples/pipe_chain.sh IN OUT [OPTION OF VSR]...
set -euo pipefail
in=$1 out=$2
shift 2
ffmpeg -nostdin -v error -i "$in" -map 0:v:0 -f yuv4mpegpipe -strict -1 - |
    vsr upscale - - "$@" |
    ffmpeg -v error -y -i - -i "$in" -map 0:v -map '1:a?' -c:v libx264 -crf 18 -c:a copy "$out"
