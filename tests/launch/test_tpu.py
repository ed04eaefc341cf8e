"""launch/tpu.sh with a gcloud that pretends, and folders for workers."""

import contextlib
import os
import pathlib
import re
import signal
import time

import pytest

from tests.launch.fakes import ARGUMENTS, Project, parse

# Keeps the request's and the slice's state in $CLOUD/queued and $CLOUD/node; a
# worker is a home folder in $CLOUD, where the command of ssh is run.
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
      # Where the connection breaks, gcloud runs the command again.
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

# Training: does what the next word of $CLOUD/plan-<worker> says.
TRAIN = r"""
word="$(head -n 1 "$CLOUD/plan-$WORKER")"
sed -i 1d "$CLOUD/plan-$WORKER"
echo "$PWD $CINN_JAX_PLATFORM" >>"$CLOUD/started"
echo "log of $WORKER"
case "$word" in
  preempted)
    until [ "$(wc -l <"$CLOUD/started")" = 2 ]; do sleep 0.02; done
    echo SUSPENDED >"$CLOUD/queued"
    echo PREEMPTED >"$CLOUD/node"
    exec sleep 5
    ;;
  rebooted) kill -KILL "$(cat "$HOME/cinn_jax_run/pid")" ;;
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
      "TMPDIR": str(folder),
    }

  def plan(self, *words, worker_1=None):
    """What training does at each start, on worker 0 and on worker 1."""
    for worker, plan in enumerate([words, worker_1 or words]):
      file = self.cloud / f"plan-worker-{worker}"
      file.write_text("".join(f"{word}\n" for word in plan))

  def worker(self, *words):
    """What launch/tpu_worker.sh says on worker 0."""
    home = self.cloud / "worker-0"
    script = home / "cinn_jax" / "launch" / "tpu_worker.sh"
    how = {"HOME": str(home), "WORKER": "worker-0", "script": script}
    return self.run(*words, **how)[1]

  def changes(self):
    """The calls of gcloud that are no questions, and each question in a row."""
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


@pytest.fixture
def tpu(tmp_path):
  tpu = Tpu(tmp_path)
  yield tpu
  for pid in tmp_path.glob("cloud/worker-*/cinn_jax_run/pid"):
    with_group = int(pid.read_text())
    if os.path.exists(f"/proc/{with_group}"):
      os.killpg(with_group, signal.SIGKILL)


class TestRun:
  def test_it_ends_with_the_training(self, tpu):
    tpu.plan("0")
    code, _, err = tpu.run("run", "train")
    assert code == 0, err
    assert tpu.count("queued-resources", "create") == 1
    started = (tpu.cloud / "started").read_text().splitlines()
    assert sorted(started) == [
      f"{tpu.cloud}/worker-{n}/cinn_jax tpu" for n in range(2)
    ]

  def test_75_starts_again(self, tpu):
    tpu.plan("75", "75", "0")
    assert tpu.run("run", "train")[0] == 0
    assert tpu.started() == 6
    assert tpu.count("queued-resources", "create") == 1

  def test_an_error_ends_it(self, tpu):
    tpu.plan("1", worker_1=["134"])
    assert tpu.run("run", "train")[0] == 1
    assert tpu.started() == 2

  def test_what_is_aborted_since_another_left_starts_again(self, tpu):
    tpu.plan("75", "0", worker_1=["134", "0"])
    assert tpu.run("run", "train")[0] == 0

  def test_a_preempted_slice_is_asked_for_again(self, tpu):
    tpu.plan("preempted", "0", worker_1=["waits", "0"])
    code, _, err = tpu.run("run", "train")
    assert code == 0 and "not ready any more" in err
    assert tpu.count("queued-resources", "create") == 2
    assert tpu.count("queued-resources", "delete", "--force") == 1
    assert tpu.count("uv", "install") == 4

  def test_a_rebooted_worker_starts_again(self, tpu):
    tpu.plan("rebooted", "0", worker_1=["1", "0"])
    assert tpu.run("run", "train")[0] == 0
    assert tpu.count("queued-resources", "create") == 1

  def test_restarts_end(self, tpu):
    tpu.plan(*["75"] * 9)
    code, _, err = tpu.run("run", "train", MAX_RESTARTS="1")
    assert code == 75 and "gave up after 1 restarts" in err
    assert tpu.started() == 4

  def test_arguments_survive(self, tpu):
    tpu.plan("0")
    assert tpu.run("run", "train", *ARGUMENTS)[0] == 0
    calls = [call for call in tpu.calls() if call[0] == "train"]
    assert calls == [["train", *ARGUMENTS, "--workdir=gs://bucket/run"]] * 2

  def test_each_workers_log_is_kept_in_the_bucket(self, tpu):
    tpu.plan("3")
    assert tpu.run("run", "train")[0] == 3
    for worker in ("worker-0", "worker-1"):
      log = (tpu.cloud / f"copy-{worker}.log").read_text()
      assert re.search(rf"== .* train .*\n(.*\n)*log of {worker}\n", log)
      assert log.endswith("exit 3\n")
    assert tpu.count("gs://bucket/run/logs/worker-0.log") == 1

  def test_ssh_that_is_not_let_in_yet_is_tried_again(self, tpu):
    (tpu.cloud / "not-yet").touch()
    tpu.plan("0")
    assert tpu.run("run", "train")[0] == 0
    assert tpu.started() == 2

  def test_a_command_that_gcloud_repeats_starts_once(self, tpu):
    (tpu.cloud / "breaks").touch()
    tpu.plan("0")
    assert tpu.run("run", "train")[0] == 0
    assert tpu.started() == 2

  def test_nothing_is_left_behind(self, tpu):
    tpu.fake("train", "sleep 31.7 & exit 0")
    assert tpu.run("run", "train", LOG_SECONDS="31.7")[0] == 0
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
      with contextlib.suppress(OSError):
        assert b"31.7" not in (folder / "cmdline").read_bytes()

  def test_set_up_that_fails_ends_it(self, tpu):
    code, _, err = tpu.run("run", "train", PIP_FAILS="1")
    assert code == 1 and "set-up failed on a TPU that is ready" in err


class TestWhileItRuns:
  def test_a_second_run_joins(self, tpu):
    tpu.plan("waits")
    first = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    second = tpu.start("run", "train", RUN_ID="8")
    deadline = time.monotonic() + 15
    while tpu.count("tpu-vm", "ssh") < 6 and time.monotonic() < deadline:
      time.sleep(0.05)
    assert tpu.run("stop")[0] == 0
    _, err = second.communicate(timeout=20)
    assert second.returncode == 75 and err.count("it is left to run") == 2
    assert tpu.started() == 2

  def test_stop_lets_it_save_and_ends_the_run(self, tpu):
    tpu.plan("waits", "0")
    call = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    assert tpu.run("stop")[0] == 0
    _, err = call.communicate(timeout=20)
    assert call.returncode == 75 and "stopped; the same" in err
    assert tpu.started() == 2
    assert (tpu.cloud / "worker-1/cinn_jax_run/code").read_text() == "75\n"
    # And the same run goes on.
    assert tpu.run("run", "train", RUN_ID="8")[0] == 0

  def test_stop_holds_where_a_run_is_just_starting_again(self, tpu):
    tpu.plan("75", "0")
    assert tpu.run("run", "train", MAX_RESTARTS="0")[0] == 75
    assert tpu.run("stop")[0] == 0
    assert tpu.worker("start", "7.1", "train") == ""
    assert tpu.worker("poll", "7.1") == "cinn_jax worker-0: stopped\n"
    assert tpu.started() == 2
    # A new `run` is meant to run.
    tpu.worker("start", "8.0", "train")
    tpu.wait_for_starts(3)

  def test_a_moment_without_network_is_nothing(self, tpu):
    tpu.plan("waits")
    call = tpu.start("run", "train", MAX_FAILURES="1000")
    tpu.wait_for_starts(2)
    (tpu.cloud / "down").touch()
    time.sleep(0.5)
    assert call.poll() is None
    (tpu.cloud / "down").unlink()
    assert tpu.run("stop")[0] == 0
    call.communicate(timeout=20)
    assert call.returncode == 75 and tpu.started() == 2


class TestCreate:
  def test_once(self, tpu):
    assert tpu.run("create")[0] == 0
    assert tpu.run("create")[0] == 0
    assert tpu.count("create") == 1 and tpu.count("create", "--spot") == 1

  def test_flags(self, tpu):
    how = {"SPOT": "0", "CREATE_FLAGS": "--network=n --reserved"}
    tpu.run("create", **how, PROJECT="p", ACCELERATOR="v4-32")
    [call] = tpu.changes()
    assert "--spot" not in call and "--project=p" in call
    assert {"--network=n", "--reserved", "--zone=here"} <= set(call)
    assert "--runtime-version=tpu-ubuntu2204-base" in call

  def test_it_waits(self, tpu):
    call = tpu.start("create", CREATED="WAITING_FOR_RESOURCES")
    assert "waiting for cinn-jax (WAITING" in call.stderr.readline()
    (tpu.cloud / "queued").write_text("ACTIVE\n")
    call.communicate(timeout=20)
    assert call.returncode == 0 and tpu.count("create") == 1

  @pytest.mark.parametrize(
    ("file", "text", "says"),
    [
      ("queued", "FAILED\n", "the request for cinn-jax failed"),
      ("refused", "", "gcloud refused the request"),
    ],
  )
  def test_what_cannot_be_had_is_said(self, tpu, file, text, says):
    (tpu.cloud / file).write_text(text)
    assert says in tpu.refusal("create")

  def test_without_network(self, tpu):
    (tpu.cloud / "down").touch()
    code, _, err = tpu.run("create")
    assert code == 1 and err.endswith("the state of cinn-jax (see above).\n")
    assert not tpu.changes()


class TestOtherWords:
  def test_delete_of_nothing_is_nothing(self, tpu):
    assert tpu.run("delete")[0] == 0
    assert not tpu.changes()
    tpu.run("create")
    assert tpu.run("delete")[0] == 0
    assert tpu.count("delete") == 1 and not (tpu.cloud / "queued").exists()

  def test_logs_are_one_workers(self, tpu):
    tpu.plan("0")
    tpu.run("run", "train")
    call = tpu.start("logs", "1")
    assert call.stdout.readline().startswith("== ")
    os.killpg(call.pid, signal.SIGKILL)
    call.communicate()
    assert tpu.count("--worker=1") == 1

  def test_set_up_leaves_a_tree_in_use_alone(self, tpu):
    tpu.plan("waits")
    call = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    mark = tpu.cloud / "worker-0" / "cinn_jax" / "launch" / "mark"
    mark.touch()
    assert tpu.run("setup")[0] == 0 and mark.exists()
    tpu.run("stop")
    call.communicate(timeout=20)
    assert tpu.run("setup")[0] == 0 and not mark.exists()


class TestOptions:
  def test_dry_run_says_what_is_run(self, tpu):
    tpu.plan("0")
    _, dry, _ = tpu.run("--dry-run", "run", "train", *ARGUMENTS)
    assert not tpu.calls()
    tpu.run("run", "train", *ARGUMENTS)
    said = [words[1:] for words in parse(dry) if words[0] == "gcloud"]
    assert len(said) == 5 and tpu.changes() == said

  def test_dry_run_asks_nothing(self, tpu):
    for words in (["create"], ["setup"], ["logs", "3"], ["stop"], ["delete"]):
      code, out, _ = tpu.run("--dry-run", *words)
      assert code == 0 and "gcloud compute tpus" in out
    assert not tpu.calls()

  def test_without_gcloud(self, tpu):
    path = tpu.path_without("gcloud")
    assert "found no gcloud" in tpu.refusal("delete", PATH=path)

  def test_help(self, tpu):
    code, out, _ = tpu.run("--help", ZONE=None)
    assert code == 0 and "logs [N]" in out

  @pytest.mark.parametrize(
    ("words", "env", "says"),
    [
      ([], {}, "usage: launch/tpu.sh create|setup"),
      (["go"], {}, "usage: launch/tpu.sh create|setup"),
      (["--dri-run"], {}, "unknown option --dri-run"),
      (["run"], {}, "usage: launch/tpu.sh run COMMAND"),
      (["stop"], {"ZONE": None}, "ZONE is not set"),
      (["create"], {"ACCELERATOR": None}, "ACCELERATOR is not set"),
      (["run", "x"], {"WORKDIR": "/tmp/x"}, "WORKDIR is '/tmp/x'; set it to"),
      (["run", "x"], {"WORKDIR": None}, "WORKDIR is ''; set it to"),
    ],
  )
  def test_what_is_missing_is_said_in_a_line(self, tpu, words, env, says):
    assert says in tpu.refusal(*words, **env)
    assert not tpu.calls()
