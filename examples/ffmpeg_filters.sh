#!/usr/bin/env bash
# ffmpeg filters before and after vsr: denoise and crop old tape first, and add grain at the end.
#     BEFORE=hqdn3d,crop=iw-16:ih-8 AFTER=noise=alls=4:allf=t examples/ffmpeg_filters.sh IN OUT [OPTION OF VSR]...
set -euo pipefail
in=$1 out=$2
shift 2
ffmpeg -nostdin -v error -i "$in" -map 0:v:0 -vf "${BEFORE:-hqdn3d}" -f yuv4mpegpipe -strict -1 - |
    vsr upscale - - "$@" |
    ffmpeg -v error -y -i - -i "$in" -map 0:v -map '1:a?' -vf "${AFTER:-noise=alls=4:allf=t}" -c:v libx264 -crf 18 \
        -c:a copy "$out"
