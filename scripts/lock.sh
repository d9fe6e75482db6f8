#!/usr/bin/env bash
# Writes requirements.lock anew from pyproject.toml, every version with the hashes of all its files, whatever the platform.
# Versions in it stay as they are; `scripts/lock.sh --upgrade` takes the newest that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cpu_builds=https://download.pytorch.org/whl/cpu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
if ! uv=$(command -v uv); then  # pip knows the files of its own platform only
  .venv/bin/python -m pip install -q --disable-pip-version-check --target "$place/uv" uv
  uv=$place/uv/bin/uv
fi
compile() {
  "$uv" pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --no-annotate "$@"
}

cp requirements.lock "$place/pypi"  # uv keeps the versions, and their hashes, that it finds where it writes
compile "$@" --extra lab --extra dev --output-file "$place/pypi" pyproject.toml
torch=$(grep -o '^torch==[^ ]*' "$place/pypi")
if ! compile --no-deps --default-index "$cpu_builds" --output-file "$place/cpu" - <<<"$torch+cpu"; then
  grep -q "^$torch " requirements.lock || { echo "error: the hashes of the CPU builds of $torch are only to be had from $cpu_builds" >&2; exit 1; }
  echo "the hashes of the CPU builds of $torch stay as they are" >&2
  touch "$place/cpu"
fi

# CUDA's libraries are left out: the CPU builds of torch do without them, and pip cannot tell which build it will get.
.venv/bin/python - "$place" >"$place/lock" <<'PYTHON'
import re
import sys
from pathlib import Path

place = Path(sys.argv[1])
for entry in re.split(r"\n(?=\S)", (place / "pypi").read_text().rstrip()):
    if entry.startswith("torch=="):
        hashes = set(re.findall(r"--hash=\S+", entry + (place / "cpu").read_text()))
        entry = " \\\n    ".join([entry.split()[0], *sorted(hashes)])
    if not re.match(r"cuda-|nvidia-|triton==", entry):
        print(entry)
PYTHON
{ sed '/^[^#]/,$d' requirements.lock; cat "$place/lock"; } >"$place/whole"
mv "$place/whole" requirements.lock
