#!/usr/bin/env bash
# `dvc repro` with the arms trained, scored and probed side by side: scripts/repro.sh JOBS [PIPELINE], in the repository's root.
# DVC runs one stage at a time, but lets several of its processes work on stages that do not meet.
set -euo pipefail
cores=$(getconf _NPROCESSORS_ONLN)
jobs=${1:-$cores} pipeline=${2:-}
case $jobs in
  '' | *[!0-9]* | 0*) echo "error: JOBS=$jobs must be a number of processes; JOBS=2 trains two arms at a time" >&2; exit 1 ;;
esac

# One at a time in a repository: DVC's own locks would stop a second one in the middle of its work. Not every system has flock.
mkdir -p .dvc/tmp
exec 9>.dvc/tmp/repro
if command -v flock >/dev/null && ! flock -n 9; then
  echo "another make repro is running in this repository; this one waits for it ..." >&2
  flock 9
fi
if [ -n "$pipeline" ]; then
  [ -f "pipelines/$pipeline/dvc.yaml" ] || {
    echo "error: PIPELINE=$pipeline: there is no pipelines/$pipeline/dvc.yaml (there are: $(ls pipelines 2>/dev/null | xargs))" >&2
    exit 1
  }
  cd "pipelines/$pipeline"
fi
unrolled check
cluster=${CLUSTER:-}  # a scheduler's address: its workers make the arms
[ -z "$cluster" ] || unrolled distribute --check "$cluster"
[ "$jobs" -gt 1 ] || [ -n "$cluster" ] || exec dvc repro

arm() {  # trained, scored and probed, each line of its output under its name
  dvc --wait-for-lock repro -s "train@$1" "evaluate@$1" "probe@$1" 2>&1 |
    while IFS= read -r line; do printf '%s | %s\n' "$1" "$line"; done
}
export -f arm

if grep -q '^  baseline:' dvc.yaml; then dvc repro baseline; else dvc repro vocabulary; fi
if [ -n "$cluster" ]; then
  unrolled distribute "$cluster"
  exec dvc repro
fi
arms=$(unrolled arms)
most=$(wc -l <<<"$arms")
[ "$jobs" -le "$most" ] || jobs=$((most))  # or the threads of those without an arm would idle
threads=$((cores / jobs > 0 ? cores / jobs : 1))
# Threads that wait by spinning cost processes side by side an order of magnitude.
OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=PASSIVE \
  xargs -P "$jobs" -I '{}' bash -c 'set -o pipefail; arm "$1"' arm '{}' <<<"$arms"
dvc repro
