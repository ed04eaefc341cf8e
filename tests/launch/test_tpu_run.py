"""launch/tpu.sh run: restarts, preemption, stopping and joining."""

import re
import signal
import subprocess
import time

import pytest

from tests.support.launcher import ARGUMENTS


def processes(word):
  """Returns the command lines on this machine that contain the word."""
  found = subprocess.run(["pgrep", "-af", word], capture_output=True, text=True)
  return found.stdout.splitlines()


class TestRun:
  def test_starts_training_on_every_worker(self, tpu):
    tpu.plan("3")
    assert tpu.run("run", "train", *ARGUMENTS)[0] == 3
    started = (tpu.cloud / "started").read_text().splitlines()
    assert sorted(started) == [
      f"{tpu.cloud}/worker-{n}/cinn_jax tpu gcs" for n in range(2)
    ]
    command = ["train", *ARGUMENTS, "--workdir=gs://bucket/run"]
    assert [x for x in tpu.calls() if x[0] == "train"] == [command] * 2
    for worker in ("worker-0", "worker-1"):
      log = (tpu.cloud / f"copy-{worker}.log").read_text()
      assert re.search(rf"== .* train .*\n(.*\n)*log of {worker}\n", log)
      assert log.endswith("exit 3\n")
      assert tpu.count(f"gs://bucket/run/logs/{worker}.log") == 1

  @pytest.mark.parametrize(
    ("worker_0", "worker_1", "code", "starts"),
    [
      (["75", "75", "0"], ["75", "75", "0"], 0, 6),
      (["75", "75", "75"], ["75", "75", "75"], 75, 6),
      (["1"], ["134"], 1, 2),
      # Processes that JAX aborts because another left do not count.
      (["75", "0"], ["134", "0"], 0, 4),
      # Other workers' errors follow from a reboot.
      (["rebooted", "0"], ["1", "0"], 0, 4),
    ],
  )
  def test_restarts_on_75(self, tpu, worker_0, worker_1, code, starts):
    tpu.plan(*worker_0, worker_1=worker_1)
    result = tpu.run("run", "train", MAX_RESTARTS="2")
    assert result[0] == code
    assert ("gave up after 2 restarts" in result[2]) == (code == 75)
    assert tpu.started() == starts
    assert tpu.count("queued-resources", "create") == 1

  def test_a_preempted_slice_is_requested_again(self, tpu):
    tpu.plan("preempted", "0", worker_1=["waits", "0"])
    code, _, err = tpu.run("run", "train")
    assert code == 0 and "no longer ready" in err
    assert tpu.count("queued-resources", "create") == 2
    assert tpu.count("queued-resources", "delete", "--force") == 1
    assert tpu.count("uv", "install") == 4

  # At first ssh is refused; or every command of ssh is run twice.
  @pytest.mark.parametrize("trouble", ["not-yet", "breaks"])
  def test_trouble_with_ssh_is_tolerated(self, tpu, trouble):
    (tpu.cloud / trouble).touch()
    tpu.plan("0")
    assert tpu.run("run", "train")[0] == 0
    assert tpu.started() == 2

  @pytest.mark.parametrize("first", ["0", "killed"])
  def test_leaves_no_process_behind(self, tpu, first):
    left = tpu.env["LEFT"]
    if first == "0":
      tpu.fake("train", 'sleep "$LEFT" & exit 0')
    tpu.plan(first, "0")
    assert tpu.run("run", "train", LOG_SECONDS=left)[0] == 0
    assert not processes(left)

  def test_a_failure_of_setup_ends_it(self, tpu):
    code, _, err = tpu.run("run", "train", PIP_FAILS="1")
    assert code == 1 and "set-up failed although the TPU is ready" in err


class TestWhileItRuns:
  @pytest.fixture
  def call(self, tpu):
    tpu.plan("waits", "0")
    call = tpu.start("run", "train", MAX_FAILURES="1000")
    tpu.wait_for_starts(2)
    return call

  def test_a_second_run_joins(self, tpu, call):
    tpu.finish(call, signal.SIGKILL)
    second = tpu.start("run", "train", RUN_ID="8")
    deadline = time.monotonic() + 15
    while tpu.count("tpu-vm", "ssh") < 6 and time.monotonic() < deadline:
      time.sleep(0.05)
    assert tpu.run("stop")[0] == 0
    code, _, err = tpu.finish(second)
    assert code == 75 and err.count("already running; it continues") == 2
    assert tpu.started() == 2

  def test_stop_saves_and_ends_it(self, tpu, call):
    assert tpu.run("stop")[0] == 0
    code, _, err = tpu.finish(call)
    assert code == 75 and "stopped; the same" in err
    assert tpu.started() == 2
    assert (tpu.cloud / "worker-1/cinn_jax_run/code").read_text() == "75\n"
    # The same command continues it.
    assert tpu.run("run", "train", RUN_ID="8")[0] == 0
    assert tpu.started() == 4

  def test_stop_prevents_a_restart(self, tpu):
    tpu.plan("75", "0")
    assert tpu.run("run", "train", MAX_RESTARTS="0")[0] == 75
    assert tpu.run("stop")[0] == 0
    assert tpu.worker("start", "7.1", "train") == ""
    assert tpu.worker("poll", "7.1") == "cinn_jax worker-0: stopped\n"
    log = (tpu.cloud / "worker-0/cinn_jax_run/log").read_text()
    assert tpu.started() == 2 and log.count(" train ") == 1
    # A new `run` starts training again.
    tpu.worker("start", "8.0", "train")
    tpu.wait_for_starts(3)

  def test_a_short_loss_of_the_network_is_tolerated(self, tpu, call):
    (tpu.cloud / "down").touch()
    time.sleep(0.5)
    assert call.poll() is None
    (tpu.cloud / "down").unlink()
    assert tpu.run("stop")[0] == 0
    assert tpu.finish(call)[0] == 75 and tpu.started() == 2

  def test_a_long_loss_of_the_network_ends_it(self, tpu):
    tpu.plan("waits")
    call = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    (tpu.cloud / "down").touch()
    code, _, err = tpu.finish(call)
    assert code == 1 and "cannot reach cinn-jax: " in err
    assert "no network" in err and tpu.started() == 2
