"""launch/tpu.sh run: restarts, preemption, stopping and joining."""

import contextlib
import os
import pathlib
import re
import signal
import time

from tests.support.fakes import ARGUMENTS


def processes(word):
  """The command lines of this machine's processes that have the word."""
  lines = []
  for folder in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
      lines.append((folder / "cmdline").read_text())
  return [line for line in lines if word in line]


class TestRun:
  def test_it_ends_with_the_training(self, tpu):
    tpu.plan("0")
    code, _, err = tpu.run("run", "train")
    assert code == 0, err
    assert tpu.count("queued-resources", "create") == 1
    started = (tpu.cloud / "started").read_text().splitlines()
    assert sorted(started) == [
      f"{tpu.cloud}/worker-{n}/cinn_jax tpu gcs" for n in range(2)
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
    left = tpu.env["LEFT"]
    tpu.fake("train", 'sleep "$LEFT" & exit 0')
    assert tpu.run("run", "train", LOG_SECONDS=left)[0] == 0
    assert not processes(left)

  def test_what_a_killed_supervisor_left_is_ended(self, tpu):
    left = tpu.env["LEFT"]
    tpu.plan("killed", "0")
    assert tpu.run("run", "train", LOG_SECONDS=left)[0] == 0
    assert not processes(left)

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

  def test_it_does_not_wait_for_the_network_forever(self, tpu):
    tpu.plan("waits")
    call = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    (tpu.cloud / "down").touch()
    _, err = call.communicate(timeout=20)
    assert call.returncode == 1 and "cannot reach cinn-jax: " in err
    assert "no network" in err and tpu.started() == 2
