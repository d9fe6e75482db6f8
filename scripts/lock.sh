#!/usr/bin/env bash
# Writes requirements.lock anew: the newest versions that pyproject.toml allows, as an empty environment takes them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
.venv/bin/python -m venv "$place/venv"
.venv/bin/python - >"$place/direct" <<'PYTHON'
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["dev"], sep="\n")
PYTHON
"$place/venv/bin/python" -m pip install -q -r "$place/direct"
{
  sed '/^[^#]/,$d' requirements.lock
  "$place/venv/bin/python" -m pip freeze --all | grep -v -e '^pip==' -e '^nvidia-' -e '^triton==' | sed 's/+[^+]*$//' | sort -f
} >"$place/lock"
mv "$place/lock" requirements.lock
