"""When launch/local.sh makes an environment, and its lock."""

import os
import pathlib
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
  @pytest.mark.parametrize("change", [change_config, remove_python, move])
  def test_after_a_change_of_the_project(self, project, change):
    project.run("true")
    (project.venv / "left over").touch()
    change(project)
    assert project.run("python", "x")[:2] == (0, "<x>")
    assert project.made()[2:] == ["venv", f"pip {project.root}[test]"]
    assert not (project.venv / "left over").exists()

  @pytest.mark.parametrize(
    ("name", "value"),
    [
      ("FAKE_VERSION", "3.12.2"),
      ("CINN_JAX_PLATFORM", "tpu"),
      ("CINN_JAX_EXTRAS", "gcs"),
    ],
  )
  def test_after_a_change_of_settings(self, project, name, value):
    project.run("true")
    project.run("true", **{name: value})
    assert project.made().count("venv") == 2

  def test_if_setup_cfg_changed_meanwhile(self, project):
    project.run("true", PIP_EDITS=str(project.root / "setup.cfg"))
    project.run("true")
    assert project.made().count("venv") == 2

  @pytest.mark.parametrize(
    ("fails", "message"),
    [
      ("PIP_FAILS", "pip could not install the project (see above)."),
      ("VENV_FAILS", "{python} could not make {venv}."),
    ],
  )
  def test_after_a_failure(self, project, fails, message):
    message = message.format(python=project.env["PYTHON"], venv=project.venv)
    code, out, err = project.run("true", **{fails: "3"})
    assert (code, out) == (1, "")
    assert err.splitlines()[1:] == [f"launch/local.sh: {message}"]
    assert not project.lock.is_symlink()
    assert project.run("python", "x")[:2] == (0, "<x>")

  @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
  def test_after_an_interruption(self, project, number):
    call = project.start("true", PIP_SECONDS="60")
    project.wait_for("pip")
    os.killpg(call.pid, number)
    call.communicate()
    assert call.returncode != 0
    assert project.lock.is_symlink() == (number == signal.SIGKILL)
    assert project.run("python", "x")[:2] == (0, "<x>")
    assert project.made().count("venv") == 2

  def test_after_an_interrupted_removal(self, project):
    project.run("true")
    old = (project.root / "setup.cfg").read_text()
    change_config(project)
    # This rm removes files, but no folder.
    project.add_tool(
      "rm",
      '#!/bin/sh\nfor path; do [ -d "$path" ] || /bin/rm -f -- "$path"; done\n'
      'for path; do [ ! -d "$path" ] || exit 1; done\n',
    )
    assert project.run("true")[0] != 0
    (project.tools / "rm").unlink()
    (project.root / "setup.cfg").write_text(old)
    project.run("true")
    assert project.made().count("venv") == 2


class TestOneEnvironmentPerPython:
  def test_a_call_leaves_the_others_alone(self, project):
    project.run("true", FAKE_VERSION="3.11.9")
    mark = project.root / ".venv" / "3.11" / "mark"
    mark.touch()
    project.run("true", CINN_JAX_EXTRAS="gcs")
    project.run("true", FAKE_VERSION="3.11.9")
    assert mark.exists()
    # Each environment has its own extras, too.
    assert project.made() == [
      "venv",
      f"pip {project.root}[test]",
      "venv",
      f"pip {project.root}[test,gcs]",
    ]

  @pytest.mark.parametrize("version", ["3.13.0", "3.13.1rc2", "3.13.0+"])
  def test_its_folder_has_the_minor_version(self, project, version):
    _, out, _ = project.run("printenv", "VIRTUAL_ENV", FAKE_VERSION=version)
    assert out == f"{project.root}/.venv/3.13\n"


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
    results = [call.communicate(timeout=20) for call in calls]
    assert [out for out, _ in results] == ["<x>"] * 3
    assert project.made().count("venv") == 1
    assert sum("Waiting for" in err for _, err in results) == 2
    assert not project.lock.is_symlink()

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
    for call in (first, second):
      assert call.communicate(timeout=20)[0] == "<x>"
    assert project.made().count("venv") == 1
    assert [x.name for x in project.root.glob(".venv*")] == [".venv"]

  def test_a_holder_on_another_machine_is_awaited(self, project, dead):
    project.lock.symlink_to(f"another-machine:{dead}")
    call = project.start("python", "x")
    assert f"Waiting for another-machine:{dead}" in call.stderr.readline()
    assert not project.made() and call.poll() is None
    project.lock.unlink()
    assert call.communicate(timeout=20)[0] == "<x>"

  @pytest.mark.parametrize("make", [pathlib.Path.touch, pathlib.Path.mkdir])
  def test_other_files_are_refused(self, project, make):
    make(project.lock)
    assert f"{project.lock} is not a lock" in project.refusal("true")

  def test_a_lock_that_cannot_be_made_is_an_error(self, project):
    project.add_tool("ln", "#!/bin/sh\nexit 1\n")
    assert f"cannot make {project.lock}" in project.refusal("true")

  @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
  def test_a_read_only_folder(self, project):
    project.root.chmod(0o555)
    assert "cannot write to" in project.refusal("true")
    project.root.chmod(0o755)
    project.run("true")
    project.root.chmod(0o555)
    assert project.run("python", "x") == (0, "<x>", "")
    project.root.chmod(0o755)
