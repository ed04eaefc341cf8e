"""The environment of launch/local.sh: when it is made again, and by whom."""

import os
import pathlib
import signal
import time

import pytest

from tests.support.launcher import refusal


class TestMadeAgain:
  def test_when_setup_cfg_changes(self, launcher):
    launcher.run("true")
    with open(launcher.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    left = launcher.venv / "left over"
    left.touch()
    launcher.run("true")
    assert launcher.made().count("venv") == 2 and not left.exists()

  def test_when_the_patch_version_or_the_platform_changes(self, launcher):
    launcher.run("true")
    launcher.run("true", FAKE_VERSION="3.12.2")
    launcher.run("true", FAKE_VERSION="3.12.2", CINN_JAX_PLATFORM="tpu")
    assert launcher.made().count("venv") == 3

  def test_when_the_project_moved(self, launcher):
    launcher.run("true")
    launcher.root = launcher.root.rename(launcher.root.with_name("moved"))
    launcher.run("true")
    assert launcher.made()[-1] == f"pip {launcher.root}[test]"

  def test_when_its_python_is_gone(self, launcher):
    launcher.run("true")
    (launcher.venv / "bin" / "python").unlink()
    assert launcher.run("python", "x")[:2] == (0, "<x>")

  def test_when_setup_cfg_changed_while_it_was_made(self, launcher):
    launcher.run("true", PIP_EDITS=str(launcher.root / "setup.cfg"))
    launcher.run("true")
    assert launcher.made().count("venv") == 2

  @pytest.mark.parametrize(
    ("fails", "says"),
    [
      ("PIP_FAILS", "pip could not install the project (see above)."),
      ("VENV_FAILS", "{python} could not make {venv}."),
    ],
  )
  def test_after_it_failed(self, launcher, fails, says):
    says = says.format(python=launcher.env["PYTHON"], venv=launcher.venv)
    code, out, err = launcher.run("true", **{fails: "3"})
    assert (code, out) == (1, "")
    assert err.splitlines()[1:] == [f"launch/local.sh: {says}"]
    assert not launcher.lock.is_symlink()
    assert launcher.run("python", "x")[:2] == (0, "<x>")
    assert launcher.made()[-2:] == ["venv", f"pip {launcher.root}[test]"]

  def test_after_it_was_killed_at_work(self, launcher):
    process = launcher.start("true", PIP_SECONDS="60")
    launcher.wait_for("pip")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert launcher.lock.is_symlink()
    assert launcher.run("python", "x")[:2] == (0, "<x>")
    assert launcher.made().count("venv") == 2
    assert not launcher.lock.is_symlink()

  def test_after_it_was_interrupted(self, launcher):
    process = launcher.start("true", PIP_SECONDS="60")
    launcher.wait_for("pip")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode != 0 and not launcher.lock.is_symlink()

  def test_after_its_removal_was_interrupted(self, launcher):
    config = launcher.root / "setup.cfg"
    launcher.run("true")
    old = config.read_text()
    config.write_text(old + "# changed\n")
    # Removes files whole, and of a folder only a part.
    launcher.add_tool(
      "rm",
      '#!/bin/sh\nfor path; do [ -d "$path" ] || /bin/rm -f -- "$path"; done\n'
      'for path; do [ ! -d "$path" ] || exit 1; done\n',
    )
    assert launcher.run("true")[0] != 0
    (launcher.tools / "rm").unlink()
    config.write_text(old)
    launcher.run("true")
    assert launcher.made().count("venv") == 2


class TestEachPythonHasItsOwn:
  def test_a_call_for_another_touches_no_other(self, launcher):
    launcher.run("true", FAKE_VERSION="3.11.9")
    kept = launcher.root / ".venv" / "3.11" / "kept"
    kept.touch()
    launcher.run("true", CINN_JAX_EXTRAS="gcs")
    launcher.run("true", FAKE_VERSION="3.11.9")
    assert kept.exists() and launcher.made().count("venv") == 2
    # Extras too are one environment's.
    assert [line[-10:] for line in launcher.made()[1::2]] == [
      "ject[test]",
      "[test,gcs]",
    ]

  @pytest.mark.parametrize("version", ["3.13.0", "3.13.1rc2", "3.13.0+"])
  def test_its_folder_is_named_after_its_version(self, launcher, version):
    _, out, _ = launcher.run(*("printenv", "VIRTUAL_ENV"), FAKE_VERSION=version)
    assert out == f"{launcher.root}/.venv/3.13\n"


class TestLock:
  def test_concurrent_calls_make_it_once(self, launcher):
    calls = [launcher.start("python", "x", PIP_SECONDS="2")]
    launcher.wait_for("pip")
    calls += [launcher.start("python", "x") for _ in range(2)]
    results = [call.communicate(timeout=20) for call in calls]
    assert [call.returncode for call in calls] == [0] * 3
    assert [out for out, _ in results] == ["<x>"] * 3
    assert launcher.made().count("venv") == 1
    assert sum("Waiting for" in err for _, err in results) == 2
    assert not launcher.lock.is_symlink()

  def test_a_dead_holder_here_is_succeeded(self, launcher, dead):
    launcher.lock.symlink_to(f"{os.uname().nodename}:{dead}")
    code, out, err = launcher.run("python", "x")
    assert (code, out) == (0, "<x>") and "Waiting" not in err
    assert [p.name for p in launcher.root.glob(".venv*")] == [".venv"]

  # One that is slow to remove what it saw must not remove what came after.
  @pytest.mark.parametrize(
    ("tool", "slow"), [("rm", "*.venv.lock"), ("ln", "*.venv.lock.*")]
  )
  def test_a_dead_holder_has_one_successor(self, launcher, dead, tool, slow):
    launcher.lock.symlink_to(f"{os.uname().nodename}:{dead}")
    launcher.add_tool(
      tool,
      f'#!/usr/bin/env bash\n[[ "${{*: -1}}" != {slow} ]] || sleep "$SLOW"\n'
      f'exec /bin/{tool} "$@"\n',
    )
    first = launcher.start("python", "x", SLOW="0.5", PIP_SECONDS="0.5")
    time.sleep(0.2)
    second = launcher.start("python", "x", SLOW="0", PIP_SECONDS="0.8")
    for call in (first, second):
      assert call.communicate(timeout=20)[0] == "<x>"
    assert launcher.made().count("venv") == 1

  def test_a_holder_elsewhere_is_waited_for(self, launcher, dead):
    launcher.lock.symlink_to(f"another-machine:{dead}")
    call = launcher.start("python", "x")
    assert f"Waiting for another-machine:{dead}" in call.stderr.readline()
    assert not launcher.made() and call.poll() is None
    launcher.lock.unlink()
    assert call.communicate(timeout=20)[0] == "<x>"

  @pytest.mark.parametrize("make", [pathlib.Path.touch, pathlib.Path.mkdir])
  def test_what_is_no_lock_is_refused(self, launcher, make):
    make(launcher.lock)
    said = refusal(launcher.run("true"))
    assert f"{launcher.lock} is no lock" in said
    assert not launcher.made()

  def test_a_lock_that_cannot_be_made_is_an_error(self, launcher):
    launcher.add_tool("ln", "#!/bin/sh\nexit 1\n")
    assert f"cannot make {launcher.lock}" in refusal(launcher.run("true"))

  @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
  def test_a_folder_that_cannot_be_written(self, launcher):
    launcher.root.chmod(0o555)
    assert "cannot write to" in refusal(launcher.run("true"))
    launcher.root.chmod(0o755)
    launcher.run("true")
    launcher.root.chmod(0o555)
    assert launcher.run("python", "x") == (0, "<x>", "")
    said = refusal(launcher.run("x", FAKE_VERSION="3.13.0"))
    assert "cannot write to" in said
    launcher.root.chmod(0o755)
