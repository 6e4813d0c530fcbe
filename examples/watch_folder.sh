#!/usr/bin/env bash
# Upscales every film that is put into a folder, once nobody has written to it for a minute; ends with Ctrl-C.
#     examples/watch_folder.sh IN OUT [OPTION OF VSR BATCH]...
# What is finished is not made again: OUT remembers it. EVERY: seconds between looks; ROUNDS: how many looks.
set -euo pipefail
in=$1 out=$2
shift 2
for ((round = 1; round <= ${ROUNDS:-2147483647}; round++)); do
    films=()
    while IFS= read -r -d '' film; do
        films+=("$film")
    done < <(find "$in" -maxdepth 1 -type f ! -name '.*' -mmin +1 -print0)
    if ((${#films[@]})); then
        status=0
        vsr batch "$@" -- "${films[@]}" "$out" || status=$?
        ((status == 0 || status == 3)) || exit "$status" # 3: some have failed, and are tried again
    fi
    ((round == ${ROUNDS:-0})) || sleep "${EVERY:-30}"
done
