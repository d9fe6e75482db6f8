#!/usr/bin/env bash
# Makes the folder ready to work in: .venv from requirements.lock, the package in editable form, the page template of
# `dvc plots`. Does nothing, at once, when all that stands. $PYTHON chooses the interpreter; uv installs, where it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=${PATH#"$PWD/.venv/bin:"}  # `make` puts it there, and the Python in it may have to give way

python=.venv/bin/python
ready=.venv/.ready            # what the environment was built from; written last
unfinished=.venv/.unfinished  # there while a set-up of ours runs, so an interrupted one is known
need_gb=6

fail() { echo "error: $*" >&2; exit 1; }

# The place counts too: the programs of an environment hold its absolute path, so that it cannot be moved.
built_from() { pwd -P; cat requirements.lock pyproject.toml scripts/set-up.sh scripts/offline_plots.py; }

moved() { [ -e "$ready" ] && [ "$(head -n 1 "$ready")" != "$(pwd -P)" ]; }

stands() { built_from | cmp -s - "$ready" && [ -e .dvc/plots/offline.html ] && [ -x "$python" ] && wanted_version; }

# Those that every package of the lock has a wheel for.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || fail "PYTHON=$PYTHON is $(version "$PYTHON"), and Python 3.11 to 3.14 is needed"
    echo "$PYTHON"; return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if fits "$candidate"; then echo "$candidate"; return; fi
  done
  fail "Python 3.11 to 3.14 is needed, and python3 is $(version python3); install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

wanted_version() { [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$python")" ]; }

version() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "not there"; }

# uv reads no settings of pip's: where it has none of its own, it is told what pip is told.
tell_uv() {
  local settings pair name value
  settings=$("$python" -m pip config list)
  for pair in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS no-index=UV_NO_INDEX \
    trusted-host=UV_INSECURE_HOST cert=SSL_CERT_FILE; do
    name=${pair#*=}
    value=$(sed -nE "s/^(:env:|global|install)\.${pair%=*}='(.*)'$/\2/p" <<<"$settings" | head -n 1 | sed 's/\\n/ /g; s/^ *//')
    [ "$name" != UV_FIND_LINKS ] || value=${value// /,}
    [ -z "$value" ] || [ -n "${!name:-}" ] || export "$name=$value"
  done
}

# packages QUIETLY COMMAND...: what the lock pins, and the package itself, by `pip install` or by uv's.
packages() {
  local quietly=$1 torch cpu=
  shift
  torch=$(grep -o '^torch==[^ ]*' requirements.lock)
  # The CPU build has to be asked for by name: uv knows its hashes by no other, and pip would prefer PyPI's build.
  if "$@" --dry-run --no-deps "$torch" 2>&1 | grep -F "${torch#*==}+cpu" >/dev/null; then cpu=+cpu; fi
  sed "s/^torch==[^ ]*/&$cpu/" requirements.lock >.venv/tmp/lock
  "$@" "$quietly" --no-deps --require-hashes -r .venv/tmp/lock &&
    # CUDA's libraries are in no lock that serves machines without them; torch says which, and they go unhashed.
    { [ -n "$cpu" ] || "$@" "$quietly" "$torch"; } &&
    "$@" "$quietly" --no-deps --no-build-isolation -e .
}

by_uv() {  # the best version of all indexes, as pip takes it, and not uv's first index: hashes say that it is the right one
  (tell_uv && packages -q uv pip install --python "$python" --index-strategy unsafe-best-match)
}

install_packages() {
  if command -v uv >/dev/null; then
    by_uv && return
    echo "uv could not install the packages (its reason stands above); pip tries ..." >&2
  fi
  packages -qq "$python" -m pip install --no-compile --disable-pip-version-check
}

install() {
  local interpreter free_gb anew=
  rmdir .venv 2>/dev/null || true  # an empty folder, as a set-up leaves it that is interrupted at once
  if [ -L .venv ] || { [ -e .venv ] && [ ! -e "$ready" ] && [ ! -e "$unfinished" ]; }; then
    fail "$PWD/.venv was not made here by make, which would overwrite it; move it away: mv .venv ../other-venv"
  fi
  interpreter=$(find_python)
  free_gb=$(($(df -Pk . | awk 'END { print $4 }') / 1048576))
  [ "$free_gb" -ge "$need_gb" ] || fail "$free_gb GB are free on this disk, and installation needs $need_gb (twice that where the index offers torch for a GPU); make room"

  # A whole environment is brought up to date; one that was interrupted, moved or made by another Python gives way.
  if [ -e "$unfinished" ] || ! fits "$python" || ! wanted_version || moved; then anew=yes; fi
  mkdir -p .venv
  touch "$unfinished"
  rm -f "$ready"
  [ -z "$anew" ] || find .venv -mindepth 1 ! -path "$unfinished" -delete
  mkdir -p .venv/tmp
  echo "Installing Python packages into .venv, once; this takes a few minutes ..." >&2
  if [ ! -x "$python" ]; then
    "$interpreter" -m venv .venv >/dev/null 2>&1 || uv venv -q --seed --allow-existing --python "$interpreter" .venv 2>/dev/null ||
      fail "$interpreter cannot make a virtual environment; on Debian and Ubuntu, apt install python3-venv mends that"
  fi
  export TMPDIR=$PWD/.venv/tmp  # unpacking beside the environment, not in /tmp, needs room on one disk only
  install_packages || fail "pip could not install the packages (its reason stands above); call make again to start afresh"
  # pip would write byte code on one core, which takes longer than all the rest, and of everybody's tests as well.
  "$python" -m compileall -qq -j 0 -x '/tests?/' .venv/lib >/dev/null || true  # templates of code are no code
  "$python" scripts/offline_plots.py
  rm -rf .venv/tmp
  built_from >"$ready.part"
  mv "$ready.part" "$ready"  # before the next line: at no moment may both be missing, or it would not be known as ours
  rm -f "$unfinished"
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
