#!/usr/bin/env bash
# One worker's part of launch/tpu.sh, which calls this over ssh on every worker.
#
#   launch/tpu_worker.sh setup             installs Python and makes .venv
#   launch/tpu_worker.sh start ID COMMAND  starts COMMAND in the background,
#                                          once per ID, which is RUN.RESTARTS
#   launch/tpu_worker.sh poll ID           prints its state: running, stopped,
#                                          lost or exit N
#   launch/tpu_worker.sh stop              sends SIGTERM and waits for the end
#   launch/tpu_worker.sh running           exits with 0 while training runs
#   launch/tpu_worker.sh log [LINES]       follows the log
#
# An ssh connection may break at any time, and gcloud then runs the command
# again, so each of these may be repeated.
set -euo pipefail
shopt -s inherit_errexit 2>/dev/null || true

RUN_DIR="${RUN_DIR:-$HOME/cinn_jax_run}"          # A run's state and log.
PYTHON_VERSION="${PYTHON_VERSION:-3.12}"          # The environment's Python.
LOG_BUCKET="${LOG_BUCKET:-}"                      # gs://... for log copies.
LOG_SECONDS="${LOG_SECONDS:-300}"                 # Time between two copies.
STOP_SECONDS="${STOP_SECONDS:-900}"               # Time to save after SIGTERM.
UV_INSTALLER="${UV_INSTALLER:-https://astral.sh/uv/install.sh}"

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
script=launch/tpu_worker.sh
# shellcheck source=launch/shell.sh
. "$root/launch/shell.sh"
log="$RUN_DIR/log"
export PATH="$HOME/.local/bin:$PATH" CINN_JAX_PLATFORM=tpu CINN_JAX_EXTRAS=gcs

# Ubuntu 22.04 has Python 3.10. uv installs a newer one without root, and thus
# without waiting for the package manager, which is busy on a new machine.
set_up() {
  command -v uv >/dev/null || curl -LsSf "$UV_INSTALLER" | sh >&2
  uv python install "$PYTHON_VERSION" >&2
  in_environment true
}

in_environment() {
  # In the project's folder uv would find .venv's own Python.
  PYTHON="$(cd "$HOME" && uv python find --managed-python "$PYTHON_VERSION")"
  export PYTHON
  exec "$root/launch/local.sh" "$@"
}

is_running() {
  local pid
  pid="$(cat "$RUN_DIR/pid" 2>/dev/null)" || return 1
  # After a reboot the number may belong to another process.
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null |
    grep -q 'tpu_worker.sh supervise'
}

start() {
  local id="$1"
  shift
  mkdir -p "$RUN_DIR"
  [ "$(cat "$RUN_DIR/id" 2>/dev/null)" != "$id" ] || return 0
  if is_running; then
    say "training is already running; it continues."
    echo "$id" >"$RUN_DIR/id"
    return
  fi
  end_what_is_left
  [ "${id##*.}" != 0 ] || rm -f "$RUN_DIR/stopped"
  rm -f "$RUN_DIR/code" "$RUN_DIR/training"
  echo "$id" >"$RUN_DIR/id"
  [ ! -e "$RUN_DIR/stopped" ] || return 0
  # No descriptor stays open, or ssh would wait for the end.
  setsid nohup "$root/launch/tpu_worker.sh" supervise "$@" \
    >>"$log" 2>&1 </dev/null &
  echo "$!" >"$RUN_DIR/pid"
  # A poll that came too early would call it lost.
  for _ in $(seq 100); do
    ! is_running && [ ! -e "$RUN_DIR/code" ] || break
    sleep 0.1
  done
}

# If the supervisor was killed, training may still run and hold the TPU. Unless
# its group has a process of this name, the number is another group's by now.
end_what_is_left() {
  local group
  group="$(cat "$RUN_DIR/pid" 2>/dev/null)" || return 0
  ! pgrep -g "$group" -f 'tpu_worker.sh supervise' >/dev/null ||
    kill -KILL -- "-$group"
}

# Runs COMMAND as the leader of its own session. `stop` signals training itself,
# since a shell that is about to wait sometimes misses a signal.
supervise() {
  local child code signalled
  echo "== $(date -u '+%F %T') $(quoted "$@")"
  (while sleep "$LOG_SECONDS"; do copy_log; done) &
  # A machine that shuts down sends SIGTERM to every process.
  trap 'signalled=1' TERM
  cd "$root"
  in_environment "$@" &
  child="$!"
  echo "$child" >"$RUN_DIR/training"
  # `stop` may have come before training had started.
  [ ! -e "$RUN_DIR/stopped" ] || stop_training
  while :; do
    signalled='' code=0
    wait "$child" || code="$?"
    # A signal also ends the wait; the code is then not training's.
    [ -n "$signalled" ] || break
  done
  rm "$RUN_DIR/training"
  echo "== $(date -u '+%F %T') exit $code"
  # Ends the log copies above and everything that training left running.
  trap '' TERM
  kill -TERM 0
  copy_log
  echo "$code" >"$RUN_DIR/code.new"
  mv "$RUN_DIR/code.new" "$RUN_DIR/code"
}

stop_training() {
  local pid
  pid="$(cat "$RUN_DIR/training" 2>/dev/null)" || return 0
  kill -TERM "$pid" 2>/dev/null || true
}

copy_log() {
  [ -n "$LOG_BUCKET" ] || return 0
  gcloud storage cp --quiet "$log" "$LOG_BUCKET/$(uname -n).log" \
    >/dev/null 2>&1 || echo "== the log could not be copied to $LOG_BUCKET"
}

poll() {
  local answer=lost
  if [ "$(cat "$RUN_DIR/id" 2>/dev/null)" = "$1" ]; then
    # In this order, because training may end between the two checks.
    if is_running; then
      answer=running
    elif [ -e "$RUN_DIR/stopped" ]; then
      answer=stopped
    elif [ -e "$RUN_DIR/code" ]; then
      answer="exit $(cat "$RUN_DIR/code")"
    fi
  fi
  echo "cinn_jax $(uname -n): $answer"
}

# The file `stopped` stays: a `run` that is about to start training again must
# not do so.
stop() {
  local deadline="$((SECONDS + STOP_SECONDS))"
  mkdir -p "$RUN_DIR"
  touch "$RUN_DIR/stopped"
  is_running || return 0
  stop_training
  while is_running; do
    [ "$SECONDS" -lt "$deadline" ] ||
      die "still running after $STOP_SECONDS s on $(uname -n)."
    sleep 0.2
  done
}

command="${1:-}"
[ "$#" -eq 0 ] || shift
case "$command" in
  setup) set_up ;;
  start | supervise | poll | stop) "$command" "$@" ;;
  running) is_running ;;
  log) exec tail -n "${1:-100}" -F "$log" ;;
  --help) show_help "${BASH_SOURCE[0]}" ;;
  *) die "unknown command '$command' (--help lists the commands)." ;;
esac
