#!/usr/bin/env bash
# Trains on Kubernetes with launch/jobset.yaml, one pod per node:
#
#   docker build -f launch/Dockerfile --build-arg PLATFORM=cuda13 -t IMAGE .
#   docker push IMAGE
#   export IMAGE WORKDIR=gs://BUCKET/colorize NODES=2 DEVICES=8
#   launch/k8s.sh apply python -m cinn_jax.main --config=configs/colorize.py
#
#   launch/k8s.sh apply COMMAND  starts COMMAND with --workdir=$WORKDIR in every
#                                pod; on several GPU nodes also with
#                                --coordinator, --num_processes, --process_id
#   launch/k8s.sh logs [N]       follows the log of pod N (default 0)
#   launch/k8s.sh delete         stops: training saves, then the pods go away
# Options, before the subcommand: --dry-run prints what would run, with the
# manifest as comments; --help prints this.
#
# For TPUs, set DEVICE=tpu and describe the slice, for example a v6e 4x4:
#   DEVICE=tpu NODES=4 DEVICES=4 TPU_TYPE=tpu-v6e-slice TPU_TOPOLOGY=4x4
set -euo pipefail
shopt -s inherit_errexit 2>/dev/null || true

NAME="${NAME:-cinn-jax}"                    # Name of the JobSet.
NAMESPACE="${NAMESPACE:-}"                  # Default: kubectl's own.
IMAGE="${IMAGE:-}"                          # Built from launch/Dockerfile.
WORKDIR="${WORKDIR:-}"                      # gs://..., shared by all pods.
DEVICE="${DEVICE:-gpu}"                     # gpu or tpu.
NODES="${NODES:-1}"                         # Pods, one per node.
DEVICES="${DEVICES:-8}"                     # GPUs or TPU chips per node.
GPU_TYPE="${GPU_TYPE:-}"                    # nvidia-h100-80gb; default: any.
TPU_TYPE="${TPU_TYPE:-tpu-v6e-slice}"       # GKE's name of the accelerator.
TPU_TOPOLOGY="${TPU_TOPOLOGY:-}"            # 4x4, 2x2x2, ...
NODE_SELECTOR="${NODE_SELECTOR:-}"          # JSON; default: the types above.
SERVICE_ACCOUNT="${SERVICE_ACCOUNT:-default}" # Must be able to write WORKDIR.
GRACE_SECONDS="${GRACE_SECONDS:-300}"       # Time to save after SIGTERM.
MAX_RESTARTS="${MAX_RESTARTS:-1000}"        # Then the JobSet fails.
PORT="${PORT:-8476}"                        # Port of JAX's coordinator.

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
script=launch/k8s.sh
# shellcheck source=launch/shell.sh
. "$root/launch/shell.sh"

cluster() {
  run kubectl ${NAMESPACE:+--namespace="$NAMESPACE"} "$@"
}

check_variables() {
  [ -n "$IMAGE" ] || die "IMAGE is not set; set it to the image built from" \
    "launch/Dockerfile."
  case "$WORKDIR" in
    gs://?*) ;;
    *) die "WORKDIR is '$WORKDIR'; set it to a bucket's folder that every pod" \
      "can write, such as gs://BUCKET/colorize." ;;
  esac
  case "$DEVICE:$TPU_TOPOLOGY$NODE_SELECTOR" in
    gpu:* | tpu:?*) ;;
    tpu:) die "TPU_TOPOLOGY is not set; set it to the slice's topology, such" \
      "as 4x4." ;;
    *) die "DEVICE is '$DEVICE'; expected gpu or tpu." ;;
  esac
}

set_device() {
  local prefix=cloud.google.com selector='{}'
  if [ "$DEVICE" = tpu ]; then
    RESOURCE=google.com/tpu
    selector="{\"$prefix/gke-tpu-accelerator\": \"$TPU_TYPE\","
    selector+=" \"$prefix/gke-tpu-topology\": \"$TPU_TOPOLOGY\"}"
  else
    RESOURCE=nvidia.com/gpu
    [ -z "$GPU_TYPE" ] ||
      selector="{\"$prefix/gke-accelerator\": \"$GPU_TYPE\"}"
  fi
  NODE_SELECTOR="${NODE_SELECTOR:-$selector}"
}

# GKE describes the TPU slice to JAX. GPU pods find each other by flags, since
# asking Kubernetes needs a package and permissions. The kubelet fills in
# $(PROCESS_ID).
set_command() {
  local flags=(--workdir="$WORKDIR")
  # The kubelet must not fill in anything that the user wrote.
  # shellcheck disable=SC2016
  COMMAND="$(json_array "$@" "${flags[@]}" | sed 's/\$(/$$(/g')"
  if [ "$DEVICE" = gpu ] && [ "$NODES" -gt 1 ]; then
    flags=(--coordinator="$NAME-workers-0-0.$NAME:$PORT"
      --num_processes="$NODES" "--process_id=\$(PROCESS_ID)")
    COMMAND="${COMMAND%]}, $(json_array "${flags[@]}" | sed 's/^\[//')"
  fi
}

json_array() {
  local word list=''
  for word in "$@"; do
    [[ "$word" != *[[:cntrl:]]* ]] ||
      die "COMMAND contains a line break or another control character."
    # shellcheck disable=SC2001
    word="$(sed 's/[\\"]/\\&/g' <<<"$word")"
    list+="${list:+, }\"$word\""
  done
  echo "[$list]"
}

# Prints launch/jobset.yaml with the variables above filled in.
manifest() {
  export NAME MAX_RESTARTS NODES GRACE_SECONDS SERVICE_ACCOUNT NODE_SELECTOR
  export IMAGE COMMAND RESOURCE DEVICES
  awk '
    /^ *#/ { next }
    {
      done = ""
      while (match($0, /\$\{[A-Z_]+\}/)) {
        done = done substr($0, 1, RSTART - 1) \
          ENVIRON[substr($0, RSTART + 2, RLENGTH - 3)]
        $0 = substr($0, RSTART + RLENGTH)
      }
      print done $0
    }' "$root/launch/jobset.yaml"
}

apply() {
  [ "$#" -gt 0 ] || die "usage: launch/k8s.sh apply COMMAND [ARG ...]"
  check_variables
  set_device
  set_command "$@"
  if [ -n "$dry_run" ]; then
    cluster apply --filename=-
    manifest | sed 's/^/# /'
  else
    manifest | cluster apply --filename=-
  fi
}

take_options "${BASH_SOURCE[0]}" "$@"
set -- ${arguments[@]+"${arguments[@]}"}
subcommand="${1:-}"
[ "$#" -eq 0 ] || shift
prefix=jobset.sigs.k8s.io/jobset-name
case "$subcommand" in
  apply | logs | delete)
    command -v kubectl >/dev/null || [ -n "$dry_run" ] ||
      die "found no kubectl; install it and point it at your cluster."
    ;;
esac
case "$subcommand" in
  apply) apply "$@" ;;
  logs)
    cluster logs --follow --tail=-1 --selector="$prefix=$NAME,$(
    )batch.kubernetes.io/job-completion-index=${1:-0}"
    ;;
  delete) cluster delete jobset "$NAME" --ignore-not-found ;;
  *) die "usage: launch/k8s.sh apply|logs|delete (see --help)." ;;
esac
