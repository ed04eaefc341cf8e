"""launch/tpu.sh with a fake gcloud: every subcommand except `run`."""

import signal

import pytest

from cinn_jax.runtime import slices
from tests.support.launcher import ARGUMENTS, parse


class TestCreate:
  @pytest.mark.parametrize(
    ("env", "flags"),
    [
      ({}, {"--spot", "--runtime-version=v2-alpha-tpuv6e"}),
      (
        {
          "SPOT": "0",
          "ACCELERATOR": "v4-32",
          "CREATE_FLAGS": "--a=b --reserved",
        },
        {"--a=b", "--reserved", "--runtime-version=tpu-ubuntu2204-base"},
      ),
    ],
  )
  def test_requests_the_slice_once(self, tpu, env, flags):
    for _ in range(2):
      assert tpu.run("create", **env)[0] == 0
    [call] = tpu.changes()
    assert flags | {"--zone=here"} <= set(call)
    assert ("--spot" in call) == (not env)

  def test_waits_until_it_is_ready(self, tpu):
    call = tpu.start("create", CREATED="WAITING_FOR_RESOURCES")
    assert "waiting for cinn-jax (WAITING" in call.stderr.readline()
    (tpu.cloud / "queued").write_text("ACTIVE\n")
    assert tpu.finish(call)[0] == 0 and tpu.count("create") == 1

  @pytest.mark.parametrize(
    ("file", "text", "message"),
    [
      ("queued", "FAILED\n", "the request for cinn-jax failed"),
      ("refused", "", "gcloud refused the request"),
      ("down", "", "gcloud cannot tell the state of cinn-jax (see above).\n"),
    ],
  )
  def test_a_failure_is_an_error(self, tpu, file, text, message):
    (tpu.cloud / file).write_text(text)
    code, _, err = tpu.run("create")
    assert code == 1 and message in err.splitlines(keepends=True)[-1]


class TestOtherSubcommands:
  def test_delete_may_be_repeated(self, tpu):
    tpu.run("create")
    for _ in range(2):
      assert tpu.run("delete")[0] == 0
    assert tpu.count("delete") == 1 and not (tpu.cloud / "queued").exists()

  def test_logs_follows_one_worker(self, tpu):
    tpu.plan("0")
    tpu.run("run", "train")
    call = tpu.start("logs", "1")
    assert call.stdout.readline().startswith("== ")
    tpu.finish(call, signal.SIGKILL)
    assert tpu.count("--worker=1") == 1

  def test_setup_leaves_a_tree_in_use_alone(self, tpu):
    tpu.plan("waits")
    call = tpu.start("run", "train")
    tpu.wait_for_starts(2)
    mark = tpu.cloud / "worker-0" / "cinn_jax" / "launch" / "mark"
    mark.touch()
    assert tpu.run("setup")[0] == 0 and mark.exists()
    tpu.run("stop")
    tpu.finish(call)
    assert tpu.run("setup")[0] == 0 and not mark.exists()


class TestPreflight:
  @pytest.mark.parametrize(
    ("accelerator", "devices"),
    [
      ("v5litepod-16", "tpu:v5e:4x4"),
      ("v6e-8", "tpu:v6e:2x4"),
      ("v4-32", "tpu:v4:2x2x4"),
    ],
  )
  def test_names_the_slice(self, tpu, accelerator, devices):
    words = ["--dry-run", "preflight", "train", "--a=b c"]
    code, out, _ = tpu.run(*words, ACCELERATOR=accelerator)
    [call] = parse(out)
    assert code == 0 and not tpu.calls()
    assert "CINN_JAX_EXTRAS=+preflight" in call
    assert call[-4:] == [
      *["train", "--a=b c", "--mode=preflight", f"--devices={devices}"]
    ]
    assert slices.parse(devices).count

  def test_an_unknown_size_is_an_error(self, tpu):
    code, _, err = tpu.run("preflight", "train", ACCELERATOR="v6e-5")
    assert code != 0 and "ACCELERATOR is 'v6e-5'" in err


class TestOptions:
  def test_dry_run_prints_what_would_run(self, tpu):
    for words in (["create"], ["setup"], ["logs", "3"], ["stop"], ["delete"]):
      code, out, _ = tpu.run("--dry-run", *words)
      assert code == 0 and "gcloud compute tpus" in out
    tpu.plan("0")
    _, dry, _ = tpu.run("--dry-run", "run", "train", *ARGUMENTS)
    assert not tpu.calls()
    tpu.run("run", "train", *ARGUMENTS)
    printed = [words[1:] for words in parse(dry) if words[0] == "gcloud"]
    assert len(printed) == 5 and tpu.changes() == printed
