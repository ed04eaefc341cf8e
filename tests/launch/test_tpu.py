"""launch/tpu.sh with a gcloud that pretends: all its words but `run`."""

import os
import signal

import pytest

from tests.support.fakes import ARGUMENTS, parse


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
