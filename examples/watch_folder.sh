#!/usr/bin/env bash
# Upscales every video that is put into a folder, once it has not changed for a minute; stop it with Ctrl-C.
#     examples/watch_folder.sh IN OUT [OPTION OF VSR BATCH]...
# Finished videos are skipped, as recorded in OUT. EVERY: seconds between scans; ROUNDS: number of scans.
set -euo pipefail
in=$1 out=$2
shift 2
for ((round = 1; round <= ${ROUNDS:-2147483647}; round++)); do
    videos=()
    while IFS= read -r -d '' video; do
        videos+=("$video")
    done < <(find "$in" -maxdepth 1 -type f ! -name '.*' -mmin +1 -print0)
    if ((${#videos[@]})); then
        status=0
        vsr batch "$@" -- "${videos[@]}" "$out" || status=$?
        # 3: some failed, and are retried; 4: another batch is at work on some
        ((status == 0 || status == 3 || status == 4)) || exit "$status"
    fi
    ((round == ${ROUNDS:-0})) || sleep "${EVERY:-30}"
done
