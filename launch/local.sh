#!/usr/bin/env bash
# Runs COMMAND in the project's own environment, making it once:
#
#   launch/local.sh python -m cinn_jax.main --config=configs/colorize.py
#
# Works from any folder: the environment is .venv beside setup.cfg, and COMMAND
# runs where you stand. It is made again when setup.cfg, the Python or the
# platform changes. Environment variables:
#   PYTHON             the interpreter to build on (default: the newest of
#                      python3.13, 3.12, 3.11, python3 that is 3.11 or later)
#   CINN_JAX_PLATFORM  cpu, cuda12, cuda13 or tpu (default: what is found here)
set -euo pipefail
shopt -s inherit_errexit 2>/dev/null || true

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

die() {
  echo "launch/local.sh: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if "$candidate" -c 'import ensurepip, sys, venv
sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "found no Python 3.11 or later with venv (tried" \
    "${PYTHON:-python3.13, python3.12, python3.11, python3}); install one or" \
    "set PYTHON to it."
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
    --format=csv,noheader 2>/dev/null | head -n 1)" && [ -n "$driver" ]; then
    # CUDA 13 needs driver 580 or later.
    if [ "${driver%%.*}" -ge 580 ]; then echo cuda13; else echo cuda12; fi
  elif [ -e /dev/accel0 ] || [ -n "${TPU_NAME:-}" ]; then
    echo tpu
  else
    echo cpu
  fi
}

# The lock is a symbolic link that names its holder: making one is atomic on
# every file system, and a holder that died here can be told from one at work.
acquire_lock() {
  local me holder waited=0
  me="$(hostname):$$"
  until ln -s "$me" "$venv.lock" 2>/dev/null; do
    holder="$(readlink "$venv.lock" 2>/dev/null)" || continue
    if [ "${holder%%:*}" = "$(hostname)" ] &&
      ! kill -0 "${holder##*:}" 2>/dev/null; then
      rm -f "$venv.lock"
      continue
    fi
    [ "$waited" -gt 0 ] ||
      echo "Waiting for $holder, which is making $venv ..." >&2
    waited=1
    sleep 1
  done
  trap 'rm -f "$venv.lock"' EXIT
}

stamp() {
  # cksum, not a git hash: the tree may be an unpacked archive.
  echo "$platform $root $("$python" -V) $(cksum <"$root/setup.cfg")"
}

is_current() {
  [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(stamp)" ]
}

make_environment() {
  local extras=test
  [ "$platform" = cpu ] || extras="test,$platform"
  echo "Making $venv for $platform with $python (about a minute) ..." >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "$root[$extras]" >&2 ||
    die "pip could not install the project (see above)."
  stamp >"$venv/stamp"
}

[ "$#" -gt 0 ] || die "usage: launch/local.sh COMMAND [ARG ...]"
[ -w "$root" ] || [ -f "$venv/stamp" ] || die "cannot write to $root."
python="$(find_python)"
platform="$(find_platform)"
if ! is_current; then
  acquire_lock
  is_current || make_environment
  rm -f "$venv.lock"
  trap - EXIT
fi
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
exec "$@"
