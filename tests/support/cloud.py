"""A fake gcloud whose TPU workers are folders."""

import time

from tests.support.launcher import Project

# Keeps the states of the request and of the slice in $CLOUD/queued and
# $CLOUD/node. A worker is a home folder in $CLOUD, in which ssh runs commands.
GCLOUD = r"""
cd "$CLOUD"
[ ! -e down ] || { echo "gcloud: no network" >&2; exit 1; }
option() { sed -n "s/^--$1=//p" <<<"$arguments"; }
arguments="$(printf '%s\n' "$@")"
case "$*" in
  *" queued-resources list "*) cat queued 2>/dev/null || true ;;
  *" tpu-vm list "*) cat node 2>/dev/null || true ;;
  *" queued-resources create "*)
    [ ! -e refused ] || exit 1
    echo "${CREATED:-ACTIVE}" >queued
    echo READY >node
    mkdir -p worker-0 worker-1
    ;;
  *" queued-resources delete "*)
    kill -KILL $(sed s/^/-/ worker-*/cinn_jax_run/pid 2>/dev/null) 2>/dev/null
    rm -rf queued node worker-*
    ;;
  *" tpu-vm scp "*) for home in worker-*; do cp "$5" "$home/${6#*:}"; done ;;
  *" tpu-vm ssh "*)
    [ "$(cat node)" = READY ] || exit 1
    ! rm not-yet 2>/dev/null || exit 255
    worker="$(option worker)" code=0
    in_home() { (cd "$1" && HOME="$PWD" WORKER="$1" bash -c "$command"); }
    command="$(option command)"
    for home in worker-${worker/all/*}; do
      in_home "$home" || code="$?"
      # When the connection breaks, gcloud runs the command again.
      [ -e breaks ] || continue
      [[ "$command" != *" start "* ]] ||
        until [ -e "$home/cinn_jax_run/code" ]; do sleep 0.02; done
      in_home "$home"
    done
    exit "$code"
    ;;
  "storage cp "*) cp "$4" "copy-$(basename "$5")" ;;
esac
"""

# Training: does what the next line of $CLOUD/plan-<worker> says.
TRAIN = r"""
word="$(head -n 1 "$CLOUD/plan-$WORKER")"
sed -i 1d "$CLOUD/plan-$WORKER"
echo "$PWD $CINN_JAX_PLATFORM $CINN_JAX_EXTRAS" >>"$CLOUD/started"
echo "log of $WORKER"
case "$word" in
  preempted)
    until [ "$(wc -l <"$CLOUD/started")" = 2 ]; do sleep 0.02; done
    echo SUSPENDED >"$CLOUD/queued"
    echo PREEMPTED >"$CLOUD/node"
    exec sleep 5
    ;;
  rebooted) kill -KILL "$(cat "$HOME/cinn_jax_run/pid")" ;;
  killed)
    sleep "$LEFT" &
    kill -KILL "$(cat "$HOME/cinn_jax_run/pid")"
    exec sleep "$LEFT"
    ;;
  waits)
    trap 'exit 75' TERM
    for _ in $(seq 400); do sleep 0.05; done
    ;;
  *) exit "$word" ;;
esac
"""

UV = 'case "$2" in find) echo "$FAKE_PYTHON" ;; esac'


class Tpu(Project):
  def __init__(self, folder):
    super().__init__(folder, "tpu.sh")
    self.cloud = folder / "cloud"
    self.cloud.mkdir()
    self.fake("gcloud", GCLOUD)
    self.fake("train", TRAIN)
    self.fake("uv", UV)
    self.add_tool("uname", '#!/bin/sh\necho "${WORKER:-host}"\n')
    python = self.env.pop("PYTHON")
    self.env |= {
      "CLOUD": str(self.cloud),
      "FAKE_PYTHON": python,
      "ZONE": "here",
      "ACCELERATOR": "v6e-16",
      "WORKDIR": "gs://bucket/run",
      "POLL_SECONDS": "0.05",
      "MAX_FAILURES": "3",
      "RUN_ID": "7",
      # A number of seconds by which a test recognises its own processes.
      "LEFT": f"31.{time.time_ns()}",
      "TMPDIR": str(folder),
    }

  def plan(self, *words, worker_1=None):
    """Sets what training does at each start on workers 0 and 1."""
    for worker, plan in enumerate([words, worker_1 or words]):
      file = self.cloud / f"plan-worker-{worker}"
      file.write_text("".join(f"{word}\n" for word in plan))

  def worker(self, *words):
    """Returns the output of launch/tpu_worker.sh on worker 0."""
    home = self.cloud / "worker-0"
    script = home / "cinn_jax" / "launch" / "tpu_worker.sh"
    return self.run(*words, script=script, HOME=str(home), WORKER="worker-0")[1]

  def changes(self):
    """Returns the calls of gcloud, each once, without those that list."""
    calls = [words[1:] for words in self.calls() if words[0] == "gcloud"]
    calls = [c for c in calls if c[3] != "list" and c[0] != "storage"]
    return [c for i, c in enumerate(calls) if c not in calls[:i]]

  def count(self, *words):
    return sum(all(w in call for w in words) for call in self.calls())

  def started(self):
    file = self.cloud / "started"
    return len(file.read_text().splitlines()) if file.exists() else 0

  def wait_for_starts(self, number):
    for _ in range(400):
      if self.started() >= number:
        return
      time.sleep(0.05)
    raise AssertionError(f"{self.started()} starts instead of {number}")
