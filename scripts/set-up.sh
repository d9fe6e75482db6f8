#!/usr/bin/env bash
# Makes the folder ready to work in: .venv from requirements.lock, the package in editable form, the page template of
# `dvc plots`. Does nothing, at once, when all that stands. $PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
ready=.venv/.ready            # what the environment was built from; written last
unfinished=.venv/.unfinished  # there while a set-up of ours runs, so an interrupted one is known
need_gb=6

fail() { echo "error: $*" >&2; exit 1; }

# The place counts too: the programs of an environment hold its absolute path, so that it cannot be moved.
built_from() { pwd -P; cat requirements.lock pyproject.toml scripts/set-up.sh scripts/offline_plots.py; }

moved() { [ -e "$ready" ] && [ "$(head -n 1 "$ready")" != "$(pwd -P)" ]; }

stands() { built_from | cmp -s - "$ready" && [ -e .dvc/plots/offline.html ] && [ -x "$python" ] && wanted_version; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || fail "PYTHON=$PYTHON is $(version "$PYTHON"), and 3.11 or newer is needed"
    echo "$PYTHON"; return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    if new_enough "$candidate"; then echo "$candidate"; return; fi
  done
  fail "Python 3.11 or newer is needed, and python3 is $(version python3); install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

wanted_version() { [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$python")" ]; }

version() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "not there"; }

install() {
  local interpreter free_gb
  interpreter=$(find_python)
  free_gb=$(($(df -Pk . | awk 'END { print $4 }') / 1048576))
  [ "$free_gb" -ge "$need_gb" ] || fail "$free_gb GB are free on this disk, and installation needs $need_gb (twice that where the index offers torch for a GPU); make room"

  # A whole environment is brought up to date; one that was interrupted, moved or made by another Python gives way.
  if [ -e "$unfinished" ] || ! new_enough "$python" || ! wanted_version || moved; then rm -rf .venv; fi
  mkdir -p .venv/tmp
  touch "$unfinished"
  rm -f "$ready"
  echo "Installing Python packages into .venv, once; this takes a few minutes ..." >&2
  if [ ! -x "$python" ]; then
    "$interpreter" -m venv .venv >/dev/null 2>&1 ||
      fail "$interpreter cannot make a virtual environment; on Debian and Ubuntu, apt install python3-venv mends that"
  fi
  # Unpacking beside the environment, not in /tmp, needs room on one disk only.
  TMPDIR=$PWD/.venv/tmp "$python" -m pip install -qq --no-compile --disable-pip-version-check -r requirements.lock &&
    "$python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . ||
    fail "pip could not install the packages (its reason stands above); call make again to start afresh"
  # pip would write byte code on one core, which takes longer than all the rest, and of everybody's tests as well.
  "$python" -m compileall -qq -j 0 -x '/tests?/' .venv/lib >/dev/null || true  # templates of code are no code
  "$python" scripts/offline_plots.py
  rm -rf .venv/tmp
  built_from >"$ready.part"
  rm -f "$unfinished"
  mv "$ready.part" "$ready"
}

command -v git >/dev/null || fail "git is not there; install it (DVC keeps its versions in it)"
[ -e .git ] && git rev-parse --git-dir >/dev/null || fail "$PWD is no git clone, and DVC needs one; get the project with git clone"

stands && exit
mkdir -p .dvc/tmp
if command -v flock >/dev/null; then  # a second make beside this one waits
  exec 9>.dvc/tmp/set-up.lock
  flock 9
  stands && exit
fi
install
