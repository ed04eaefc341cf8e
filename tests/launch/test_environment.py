"""When launch/local.sh makes an environment, and its lock."""

import os
import signal
import subprocess
import time

import pytest


def change_config(project):
  with open(project.root / "setup.cfg", "a") as config:
    config.write("# changed\n")


def remove_python(project):
  (project.venv / "bin" / "python").unlink()


def move(project):
  project.root = project.root.rename(project.root.with_name("moved"))
  project.script = project.root / "launch" / "local.sh"


class TestMakingAgain:
  @pytest.mark.parametrize(
    "change",
    [
      change_config,
      remove_python,
      move,
      {"FAKE_VERSION": "3.12.2"},
      {"CINN_JAX_PLATFORM": "tpu"},
      {"CINN_JAX_EXTRAS": "gcs"},
    ],
  )
  def test_after_a_change(self, project, change):
    project.run("true")
    (project.venv / "left over").touch()
    if callable(change):
      change(project)
    else:
      project.env |= change
    for _ in range(2):
      assert project.run("python", "x")[:2] == (0, "<x>")
    assert project.made().count("venv") == 2
    assert not (project.venv / "left over").exists()

  def test_if_setup_cfg_changed_meanwhile(self, project):
    project.run("true", PIP_EDITS=str(project.root / "setup.cfg"))
    project.run("true")
    assert project.made().count("venv") == 2

  @pytest.mark.parametrize(
    ("fails", "message"),
    [
      ("PIP_FAILS", "pip could not install the project (see above).\n"),
      ("VENV_FAILS", "fake python could not make {}.\n"),
    ],
  )
  def test_after_a_failure(self, project, fails, message):
    code, out, err = project.run("true", **{fails: "3"})
    assert (code, out) == (1, "") and err.endswith(message.format(project.venv))
    assert not project.lock.is_symlink()
    assert project.run("python", "x")[:2] == (0, "<x>")

  @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
  def test_after_an_interruption(self, project, number):
    call = project.start("true", PIP_SECONDS="60")
    project.wait_for("pip")
    assert project.finish(call, number)[0] != 0
    assert project.lock.is_symlink() == (number == signal.SIGKILL)
    assert project.run("python", "x")[:2] == (0, "<x>")
    assert project.made().count("venv") == 2


def test_each_python_has_its_own(project):
  folders = ("3.11.9", "3.11"), ("3.12.1", "3.12"), ("3.13.1rc2", "3.13")
  for again in range(2):
    for version, folder in folders:
      extras = f"of{folder}" if not again else None
      _, out, _ = project.run(
        "printenv", "VIRTUAL_ENV", FAKE_VERSION=version, CINN_JAX_EXTRAS=extras
      )
      assert out == f"{project.root}/.venv/{folder}\n"
  made = [f"pip {project.root}[test,of{folder}]" for _, folder in folders]
  assert project.made()[1::2] == made


class TestLock:
  @pytest.fixture
  def dead(self):
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid

  def test_concurrent_calls_make_one_environment(self, project):
    calls = [project.start("python", "x", PIP_SECONDS="1.5")]
    project.wait_for("pip")
    calls += [project.start("python", "x") for _ in range(2)]
    results = [project.finish(call) for call in calls]
    assert [out for _, out, _ in results] == ["<x>"] * 3
    assert project.made().count("venv") == 1
    assert sum("Waiting for" in err for *_, err in results) == 2

  # A call that is slow to remove the dead lock must not remove the next one.
  @pytest.mark.parametrize(
    ("tool", "slow"), [("rm", "*.venv.lock"), ("ln", "*.venv.lock.*")]
  )
  def test_a_dead_holder_has_one_successor(self, project, dead, tool, slow):
    project.lock.symlink_to(f"{os.uname().nodename}:{dead}")
    project.add_tool(
      tool,
      f'#!/usr/bin/env bash\n[[ "${{*: -1}}" != {slow} ]] || sleep "$SLOW"\n'
      f'exec /bin/{tool} "$@"\n',
    )
    first = project.start("python", "x", SLOW="0.5", PIP_SECONDS="0.5")
    time.sleep(0.2)
    second = project.start("python", "x", SLOW="0", PIP_SECONDS="0.8")
    assert [project.finish(x)[1] for x in (first, second)] == ["<x>"] * 2
    assert project.made().count("venv") == 1
    assert [x.name for x in project.root.glob(".venv*")] == [".venv"]

  def test_a_holder_on_another_machine_is_awaited(self, project, dead):
    project.lock.symlink_to(f"another-machine:{dead}")
    call = project.start("python", "x")
    assert f"Waiting for another-machine:{dead}" in call.stderr.readline()
    assert not project.made() and call.poll() is None
    project.lock.unlink()
    assert project.finish(call)[1] == "<x>"

  def test_a_lock_that_cannot_be_made_is_an_error(self, project):
    project.add_tool("ln", "#!/bin/sh\nexit 1\n")
    code, _, err = project.run("true")
    assert code == 1 and f"cannot make {project.lock}" in err
    project.lock.mkdir()
    code, _, err = project.run("true")
    assert code == 1 and f"{project.lock} is not a lock" in err
    assert not project.made()
