#!/usr/bin/env bash
# Trains on a Cloud TPU VM or a whole pod slice, through preemptions:
#
#   export ZONE=us-east5-b ACCELERATOR=v6e-16 WORKDIR=gs://BUCKET/colorize
#   launch/tpu.sh run python -m cinn_jax.main --config=configs/colorize.py
#
#   launch/tpu.sh preflight COMMAND
#                              compiles COMMAND's training step for $ACCELERATOR
#                              on this machine: does it fit, and what it costs
#   launch/tpu.sh create       requests the slice and waits until it is ready
#   launch/tpu.sh setup        sends this tree to every worker and makes .venv
#   launch/tpu.sh run COMMAND  creates, sets up, starts COMMAND with
#                              --workdir=$WORKDIR on every worker, and waits
#   launch/tpu.sh logs [N]     follows the log of worker N (default 0)
#   launch/tpu.sh stop         makes training save and exit; the slice stays
#   launch/tpu.sh delete       gives the slice back
# Options, before the subcommand: --dry-run prints what would run and runs
# nothing (it assumes that the slice does not exist yet); --help prints this.
#
# `run` starts again when training exits with 75 (saved, start me again) and if
# the slice is preempted or lost. Its exit code is training's, and 75 after
# `stop`. Training does not depend on it: after Ctrl-C or a lost connection the
# same `run` joins what is running. Every subcommand may be repeated.
# Every worker logs to ~/cinn_jax_run/log, which is copied to $WORKDIR/logs.
# Needs gcloud, logged in, and for several workers the ssh keys in ssh-agent.
set -euo pipefail
shopt -s inherit_errexit 2>/dev/null || true

SLICE="${SLICE:-cinn-jax}"             # Name of the slice and of its request.
ZONE="${ZONE:-}"                       # us-east5-b, for example.
PROJECT="${PROJECT:-}"                 # Default: gcloud's own.
ACCELERATOR="${ACCELERATOR:-}"         # Type and size: v6e-16, v4-32.
RUNTIME="${RUNTIME:-}"                 # Default: the accelerator's.
SPOT="${SPOT:-1}"                      # 1: cheaper, may be preempted; 0: not.
WORKDIR="${WORKDIR:-}"                 # gs://..., shared by all workers.
CREATE_FLAGS="${CREATE_FLAGS:-}"       # --network=... --service-account=...
MAX_RESTARTS="${MAX_RESTARTS:-1000}"   # Then `run` gives up, with 75.
POLL_SECONDS="${POLL_SECONDS:-60}"     # Time between two polls.
MAX_FAILURES="${MAX_FAILURES:-10}"     # Polls in a row that may fail.
RUN_ID="${RUN_ID:-$(date +%s)}"        # Identifies this `run`.

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
script=launch/tpu.sh
# shellcheck source=launch/shell.sh
. "$root/launch/shell.sh"
worker=cinn_jax/launch/tpu_worker.sh # On the workers, under their home.

check_variables() {
  [ -n "$ZONE" ] || die "ZONE is not set; set it to the TPU's zone, such as" \
    "us-east5-b."
  location=(--zone="$ZONE" --quiet)
  [ -z "$PROJECT" ] || location+=(--project="$PROJECT")
  command -v gcloud >/dev/null || [ -n "$dry_run" ] ||
    die "found no gcloud; install the Google Cloud CLI and log in."
}

runtime() {
  case "$ACCELERATOR" in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    *) echo tpu-ubuntu2204-base ;;
  esac
}

# Prints the shape of a slice, 4x4 for v6e-16. v4 and v5p count cores, two of
# which make a chip.
shape() {
  local size="${1##*-}"
  case "$1" in
    v4-* | v5p-*)
      case "$size" in
        8) echo 2x2x1 ;; 16) echo 2x2x2 ;; 32) echo 2x2x4 ;;
        64) echo 2x4x4 ;; 128) echo 4x4x4 ;; 256) echo 4x4x8 ;;
        *) return 1 ;;
      esac
      ;;
    *)
      case "$size" in
        1) echo 1x1 ;; 4) echo 2x2 ;; 8) echo 2x4 ;; 16) echo 4x4 ;;
        32) echo 4x8 ;; 64) echo 8x8 ;; 128) echo 8x16 ;; 256) echo 16x16 ;;
        *) return 1 ;;
      esac
      ;;
  esac
}

preflight() {
  local kind="${ACCELERATOR%-*}" sides
  [ "$#" -gt 0 ] || die "usage: launch/tpu.sh preflight COMMAND [ARG ...]"
  sides="$(shape "$ACCELERATOR")" || die "ACCELERATOR is '$ACCELERATOR'; set" \
    "it to the type and size of the TPU, such as v6e-16."
  [ "$kind" != v5litepod ] || kind=v5e
  # In addition to the extras that the environment has.
  run env CINN_JAX_EXTRAS="${CINN_JAX_EXTRAS-+}${CINN_JAX_EXTRAS:+,}preflight" \
    "$root/launch/local.sh" "$@" --mode=preflight "--devices=tpu:$kind:$sides"
}

tpus() {
  run gcloud compute tpus "$@" "${location[@]}"
}

# Prints field $2 of the slice in the list of $1. A list is empty if there is no
# slice and fails if gcloud cannot tell.
listed() {
  gcloud compute tpus "$1" list "${location[@]}" --filter="name~/$SLICE\$" \
    --format="value($2)"
}

# Prints the states of the request and of the machines, such as ACTIVE:READY.
slice_state() {
  local queued node
  queued="$(listed queued-resources state.state)" || return
  node="$(listed tpu-vm state)" || return
  echo "${queued:-NONE}:${node:-NONE}"
}

is_ready() {
  [ "$(slice_state)" = ACTIVE:READY ]
}

ask_for_slice() {
  local flags=(--node-id="$SLICE" --accelerator-type="$ACCELERATOR"
    --runtime-version="${RUNTIME:-$(runtime)}") more
  [ "$SPOT" = 0 ] || flags+=(--spot)
  read -ra more <<<"$CREATE_FLAGS"
  tpus queued-resources create "$SLICE" "${flags[@]}" \
    ${more[@]+"${more[@]}"}
}

create() {
  local state before='' failures=0
  [ -n "$ACCELERATOR" ] || die "ACCELERATOR is not set; set it to the type" \
    "and size of the TPU, such as v6e-16."
  if [ -n "$dry_run" ]; then
    ask_for_slice
    return
  fi
  while :; do
    state="$(slice_state)" || state=unknown
    case "$state" in
      ACTIVE:READY) return ;;
      NONE:*) ask_for_slice || die "gcloud refused the request (see above)." ;;
      FAILED:*) die "the request for $SLICE failed; delete it and check that" \
        "$ACCELERATOR is available in $ZONE." ;;
      SUSPENDED:* | ACTIVE:PREEMPTED | ACTIVE:TERMINATED | ACTIVE:STOPPED | \
        ACTIVE:NONE)
        say "$SLICE is gone ($state); requesting it again."
        delete || die "gcloud could not delete $SLICE (see above)."
        ;;
      unknown)
        failures=$((failures + 1))
        [ "$failures" -lt "$MAX_FAILURES" ] ||
          die "gcloud cannot tell the state of $SLICE (see above)."
        sleep "$POLL_SECONDS"
        ;;
      *)
        [ "$state" = "$before" ] || say "waiting for $SLICE ($state) ..."
        before="$state"
        sleep "$POLL_SECONDS"
        ;;
    esac
  done
}

delete() {
  local queued
  if [ -z "$dry_run" ]; then
    queued="$(listed queued-resources state.state)" ||
      die "gcloud cannot list requests (see above)."
    [ -n "$queued" ] || return 0
  fi
  tpus queued-resources delete "$SLICE" --force
}

# Runs the shell command $2 on worker $1, or on all. Without the keep-alive, ssh
# would wait for a worker that is gone.
on_workers() {
  tpus tpu-vm ssh "$SLICE" --worker="$1" --command="$2" \
    --ssh-flag=-oConnectTimeout=20 --ssh-flag=-oServerAliveInterval=30
}

# Sends only what a run needs. A worker that is training keeps its tree.
setup() {
  local archive="${TMPDIR:-/tmp}/$SLICE.tar.gz"
  run tar -czf "$archive" --exclude=__pycache__ -C "$root" cinn_jax configs \
    launch setup.cfg pyproject.toml README.md LICENSE &&
    tpus tpu-vm scp "$archive" "$SLICE:cinn_jax.tar.gz" --worker=all &&
    on_workers all "! $worker running 2>/dev/null || exit 0; \
rm -rf cinn_jax/cinn_jax cinn_jax/configs cinn_jax/launch && \
mkdir -p cinn_jax && tar -xzf cinn_jax.tar.gz -C cinn_jax && $worker setup"
}

start() {
  local id="$1"
  shift
  on_workers all "LOG_BUCKET=$(quoted "$WORKDIR/logs") \
$worker start $id $(quoted "$@")"
}

# Sums up the workers' answers: running, stopped, or an exit code. A worker that
# lost its training was rebooted, and the errors of the others follow from that.
outcome() {
  local codes
  case "$1" in
    *running*) echo running ;;
    *stopped*) echo stopped ;;
    *lost*) echo "$SAVED" ;;
    *)
      read -ra codes <<<"$(sed -n 's/^exit //p' <<<"$1" | tr '\n' ' ')"
      verdict "${codes[@]:-1}"
      ;;
  esac
}

# Starts training once and waits for its end. Returns its exit code, or 75 if
# only the machines failed.
attempt() {
  local id="$1" code=0
  shift
  create
  { setup && start "$id" "$@"; } || code="$?"
  if [ "$code" -ne 0 ]; then
    # 255 is ssh's own: a new machine may refuse connections for a while.
    [ "$code" = 255 ] || ! is_ready ||
      die "set-up failed although the TPU is ready (see above)."
    sleep "$POLL_SECONDS"
    return "$SAVED"
  fi
  await_end "$id"
}

# Polls until training has ended. Returns the same codes as `attempt`.
await_end() {
  local answers result failures=0
  if [ -n "$dry_run" ]; then
    on_workers all "$worker poll $1"
    return
  fi
  while sleep "$POLL_SECONDS"; do
    if ! answers="$(on_workers all "$worker poll $1" 2>&1)"; then
      may_be_unreachable || return "$SAVED"
      failures=$((failures + 1))
      [ "$failures" -lt "$MAX_FAILURES" ] || die "cannot reach $SLICE: $answers"
      continue
    fi
    failures=0
    result="$(outcome "$(sed -n 's/^cinn_jax [^ ]*: //p' <<<"$answers")")"
    if [ "$result" = stopped ]; then
      say "stopped; the same \`run\` command continues it."
      exit "$SAVED"
    fi
    [ "$result" = running ] || return "$result"
  done
}

# Tells whether the network may be why the workers did not answer.
may_be_unreachable() {
  local state
  state="$(slice_state 2>/dev/null)" || return 0
  [ "$state" != ACTIVE:READY ] || return 0
  say "$SLICE is no longer ready ($state)."
  return 1
}

run_training() {
  local code restarts=0
  [ "$#" -gt 0 ] || die "usage: launch/tpu.sh run COMMAND [ARG ...]"
  case "$WORKDIR" in
    gs://?*) ;;
    *) die "WORKDIR is '$WORKDIR'; set it to a bucket's folder that every" \
      "worker can write, such as gs://BUCKET/colorize." ;;
  esac
  while :; do
    code=0
    attempt "$RUN_ID.$restarts" "$@" --workdir="$WORKDIR" || code="$?"
    [ "$code" = "$SAVED" ] || exit "$code"
    restarts=$((restarts + 1))
    if [ "$restarts" -gt "$MAX_RESTARTS" ]; then
      say "gave up after $MAX_RESTARTS restarts."
      exit "$code"
    fi
    say "starting again ($restarts) ..."
  done
}

take_options "${BASH_SOURCE[0]}" "$@"
set -- ${arguments[@]+"${arguments[@]}"}
subcommand="${1:-}"
[ "$#" -eq 0 ] || shift
case "$subcommand" in
  preflight) ;;
  create | setup | run | logs | stop | delete) check_variables ;;
  *) die "usage: launch/tpu.sh preflight|create|setup|run|logs|stop|delete" \
    "(see --help)." ;;
esac
case "$subcommand" in
  run) run_training "$@" ;;
  preflight) preflight "$@" ;;
  logs) on_workers "${1:-0}" "$worker log" ;;
  stop) on_workers all "$worker stop" ;;
  *) "$subcommand" ;;
esac
