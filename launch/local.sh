#!/usr/bin/env bash
# Runs COMMAND in the project's own environment, which the first call makes:
#
#   launch/local.sh python -m cinn_jax.main --config=configs/colorize.py
#
# It works from any folder: COMMAND runs in the current one. The environment is
# .venv/3.13 next to setup.cfg. Each version of Python has its own, and a call
# with one version leaves the others alone. An environment is made again when
# setup.cfg, the platform, the extras or Python's patch version change. The exit
# code is COMMAND's. Options, before COMMAND:
#   --restart  starts COMMAND again whenever it exits with 75 (saved, start me
#              again), until it exits with another code or this script gets a
#              signal; passes SIGTERM, SIGUSR1 and SIGUSR2 on to COMMAND
#   --dry-run  prints what would run, and runs nothing
#   --help     prints this
# Environment variables:
#   PYTHON             the interpreter to use: a path, or a name to look up on
#                      PATH and then among the versions of pyenv and uv
#                      (default: the first of python3.13, python3.12, python3.11
#                      and python3 that is 3.11 or later)
#   CINN_JAX_PLATFORM  cpu, cuda12, cuda13 or tpu (default: what this machine
#                      has)
#   CINN_JAX_EXTRAS    more extras of setup.cfg, separated by commas: gcs (for
#                      workdirs in buckets), preflight, metrics, freia,
#                      tensorflow
#                      (default: those the environment has; empty: none; with
#                      a + in front: in addition to those). Programs that run
#                      in the environment lose it while it is made again.
set -euo pipefail
shopt -s inherit_errexit 2>/dev/null || true

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
venvs="$root/.venv"

die() {
  echo "launch/local.sh: $*" >&2
  exit 1
}

find_python() {
  local name path names=(python3.13 python3.12 python3.11 python3)
  [ -z "${PYTHON:-}" ] || names=("$PYTHON")
  for name in "${names[@]}"; do
    while IFS= read -r path; do
      # The environment of an active shell is removed before it is made again,
      # so it cannot be made from its own Python.
      [[ "$path" != "$venvs"/* ]] || continue
      if "$path" -c 'import ensurepip, sys, venv
sys.exit(sys.version_info < (3, 11))' </dev/null 2>/dev/null; then
        echo "$path"
        return
      fi
    done < <(list_installed "$name")
  done
  die "found no Python 3.11 or later with venv (tried ${names[*]}); install" \
    "one or set PYTHON to it."
}

# Lists all interpreters named $1, best first. pyenv's shims fail for versions
# that are not selected, and uv's versions need not be on PATH.
list_installed() {
  local uv="${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python"
  uv="${UV_PYTHON_INSTALL_DIR:-$uv}"
  type -aP -- "$1" || true
  [[ "$1" == python3.* ]] || return 0
  find "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions" "$uv" -maxdepth 3 \
    -path "*/bin/$1" 2>/dev/null | sort -rV
}

find_platform() {
  local driver
  if [ -n "${CINN_JAX_PLATFORM:-}" ]; then
    case "$CINN_JAX_PLATFORM" in
      cpu | cuda12 | cuda13 | tpu) echo "$CINN_JAX_PLATFORM" ;;
      *) die "CINN_JAX_PLATFORM is '$CINN_JAX_PLATFORM'; expected cpu," \
        "cuda12, cuda13 or tpu." ;;
    esac
  elif driver="$(nvidia-smi --query-gpu=driver_version \
    --format=csv,noheader 2>/dev/null)" && [ -n "$driver" ]; then
    # CUDA 13 needs driver 580 or later. There is one line per GPU.
    if [ "${driver%%.*}" -ge 580 ]; then echo cuda13; else echo cuda12; fi
  elif [ -e /dev/accel0 ] || [ -e /dev/vfio/0 ] ||
    [ -n "${TPU_NAME:-}" ]; then
    echo tpu
  else
    echo cpu
  fi
}

# The lock is a symbolic link to its holder's name. Making a link is atomic on
# every file system, and the name shows whether a holder on this machine died.
acquire_lock() {
  local host me holder waited=0 attempts=0
  host="$(uname -n)"
  me="$host:$$"
  [ -L "$venvs.lock" ] || [ ! -e "$venvs.lock" ] ||
    die "$venvs.lock is not a lock of this script; remove it."
  until ln -s "$me" "$venvs.lock" 2>/dev/null; do
    if ! holder="$(readlink "$venvs.lock")"; then
      # The lock was just released, or the file system refuses links.
      attempts=$((attempts + 1))
      [ "$attempts" -lt 20 ] || die "cannot make $venvs.lock."
      continue
    fi
    if [ "${holder%%:*}" = "$host" ] && ! is_alive "${holder##*:}" &&
      remove_dead_lock "$holder" "$me"; then
      continue
    fi
    [ "$waited" -gt 0 ] ||
      echo "Waiting for $holder, which is making an environment in $venvs" \
        "(if it is gone: rm $venvs.lock*) ..." >&2
    waited=1
    sleep 1
  done
  trap 'rm -f "$venvs.lock"' EXIT
}

is_alive() {
  # kill may not signal another user's process; ps still sees it.
  kill -0 "$1" 2>/dev/null || ps -p "$1" >/dev/null 2>&1
}

# Removes the dead holder $1's lock. One process at a time does so, and only
# while the lock is still that holder's, so that no newer lock is removed.
remove_dead_lock() {
  local claim="$venvs.lock.$1"
  ln -s "$2" "$claim" 2>/dev/null || return
  [ "$(readlink "$venvs.lock")" != "$1" ] || rm -f "$venvs.lock"
  rm -f "$claim"
}

# Prints everything that the environment depends on.
stamp() {
  # cksum rather than a git hash: the tree may be an unpacked archive.
  echo "$(extras) $root $version $(cksum <"$root/setup.cfg")"
}

is_current() {
  [ -x "$venv/bin/python" ] &&
    [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(stamp)" ]
}

extras() {
  local list=test more
  [ "$platform" = cpu ] || list+=",$platform"
  more="$(more_extras)"
  echo "$list${more:+,$more}"
}

# Prints the extras that the caller names, or else those of the environment; or
# both, if what the caller names starts with +.
more_extras() {
  local recorded named
  recorded="$(cat "$venv/extras" 2>/dev/null || true)"
  named="${CINN_JAX_EXTRAS-$recorded}"
  if [ "${named#+}" = "$named" ]; then
    echo "$named"
  elif [ "$named" = + ] || [[ ",$recorded," == *",${named#+},"* ]]; then
    echo "$recorded"
  else
    echo "${recorded:+$recorded,}${named#+}"
  fi
}

make_environment() {
  local made_for all more
  echo "Making $venv for $platform with $python (about a minute) ..." >&2
  # Computed first, because setup.cfg may change meanwhile.
  made_for="$(stamp)"
  all="$(extras)"
  more="$(more_extras)"
  # The stamp goes first: if this is interrupted, the rest must not look whole.
  rm -rf "$venv/stamp" "$venv"
  # Written before anything that may fail, so that the extras are not lost.
  mkdir -p "$venv"
  echo "$more" >"$venv/extras"
  "$python" -m venv "$venv" >&2 || die "$python could not make $venv."
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "${root}[$all]" >&2 ||
    die "pip could not install the project (see above).${more:+ \
To install it without the extras $more, set CINN_JAX_EXTRAS= (empty).}"
  echo "$made_for" >"$venv/stamp"
}

show_help() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' \
    "${BASH_SOURCE[0]}"
}

show_commands() {
  if ! is_current; then
    quoted "$python" -m venv "$venv"
    quoted "$venv/bin/python" -m pip install --editable "${root}[$(extras)]"
  fi
  quoted "$@"
}

quoted() {
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
}

restart='' dry_run=''
while [ "$#" -gt 0 ]; do
  case "$1" in
    --restart) restart=1 ;;
    --dry-run) dry_run=1 ;;
    --help)
      show_help
      exit
      ;;
    -*) die "unknown option $1 (--help lists the options)." ;;
    *) break ;;
  esac
  shift
done
[ "$#" -gt 0 ] ||
  die "usage: launch/local.sh COMMAND [ARG ...] (see --help)."
python="$(find_python)"
version="$("$python" -V)" # For example "Python 3.13.0".
venv="$venvs/$(cut -d. -f1,2 <<<"${version#Python }")"
platform="$(find_platform)"
if [ -n "$dry_run" ]; then
  show_commands "$@"
  exit
fi
if ! is_current; then
  [ -w "$root" ] || die "cannot write to $root, which must hold .venv."
  acquire_lock
  is_current || make_environment
  rm -f "$venvs.lock"
  trap - EXIT
fi
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
[ -z "$restart" ] || exec "$python" -I "$root/launch/restart.py" "$@"
exec "$@"
