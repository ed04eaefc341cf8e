"""launch/local.sh: what it runs, on which Python and for which devices."""

import os
import shutil

import pytest

from tests.support.launcher import PYTHON, refusal


class TestCommand:
  def test_the_environment_is_made_once(self, launcher):
    code, out, err = launcher.run("python", "hello")
    assert (code, out) == (0, "<hello>")
    assert "Making" in err
    assert launcher.made() == ["venv", f"pip {launcher.root}[test]"]
    assert launcher.run("python", "hello") == (0, "<hello>", "")
    assert len(launcher.made()) == 2
    assert not launcher.lock.is_symlink()

  def test_arguments_survive(self, launcher):
    arguments = ["a b", "", "*", "$HOME", "--x='y z'", 'a"b', "back\\slash"]
    _, out, _ = launcher.run("python", *arguments)
    assert out == "".join(f"<{argument}>" for argument in arguments)

  def test_the_commands_exit_code_is_passed_on(self, launcher):
    assert launcher.run("bash", "-c", "exit 7")[0] == 7
    assert launcher.run("no-such-command")[0] == 127

  def test_the_command_runs_where_you_stand_in_the_environment(self, launcher):
    show = 'pwd; echo "$VIRTUAL_ENV"; command -v python'
    _, out, _ = launcher.run("bash", "-c", show)
    assert out.splitlines() == [
      str(launcher.elsewhere),
      str(launcher.venv),
      str(launcher.venv / "bin" / "python"),
    ]

  def test_a_relative_call_under_cdpath(self, launcher):
    code, out, _ = launcher.run(
      "python", "x", script="launch/local.sh", cwd=launcher.root, CDPATH="."
    )
    assert (code, out) == (0, "<x>")

  def test_no_command(self, launcher):
    assert "usage: launch/local.sh COMMAND" in refusal(launcher.run())
    assert not launcher.made()


class TestPython:
  def test_without_one(self, launcher):
    said = refusal(launcher.run("true", PYTHON="no-such-python"))
    assert "no Python 3.11 or later" in said and "no-such-python" in said

  def test_one_that_is_too_old_or_lacks_venv(self, launcher):
    said = refusal(launcher.run("true", FAKE_UNFIT="1"))
    assert "no Python 3.11 or later" in said

  def test_the_newest_is_found(self, launcher):
    launcher.add_tool("python3.13", PYTHON)
    assert launcher.run("python", "x", PYTHON=None)[:2] == (0, "<x>")

  @pytest.mark.parametrize(
    "place",
    [
      ".pyenv/versions/3.13.0/bin",
      ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin",
    ],
  )
  def test_one_that_is_not_on_path_is_found(self, launcher, place):
    home = launcher.tools.with_name("home")
    folder = home / place
    folder.mkdir(parents=True)
    # pyenv's shim, which fails while another version is chosen.
    launcher.add_tool("python3.13", "#!/bin/sh\nexit 127\n")
    launcher.add_tool("fake python", PYTHON.replace("'<%s>'", "'[%s]'"))
    shutil.copy(launcher.tools / "fake python", folder / "python3.13")
    for name in (None, "python3.13"):
      code, out, _ = launcher.run("python", "x", PYTHON=name, HOME=str(home))
      assert (code, out) == (0, "[x]")

  def test_the_newest_of_several_is_found(self, launcher):
    for version in ("3.13.9", "3.13.10", "3.13.2"):
      folder = launcher.root / "versions" / version / "bin"
      folder.mkdir(parents=True)
      (folder / "python3.13").write_text(
        PYTHON.replace("'<%s>'", f"'{version}'")
      )
      (folder / "python3.13").chmod(0o755)
    _, out, _ = launcher.run(
      *("python", "x"), PYTHON="python3.13", PYENV_ROOT=str(launcher.root)
    )
    assert out == "3.13.10"

  def test_an_active_environment_is_not_what_it_is_made_from(self, launcher):
    launcher.add_tool("python3.13", PYTHON)
    launcher.run("true", PYTHON=None)
    with open(launcher.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    path = f"{launcher.venv}/bin:{launcher.env['PATH']}"
    code, out, _ = launcher.run("python", "x", PYTHON=None, PATH=path)
    assert (code, out) == (0, "<x>")
    assert launcher.made().count("venv") == 2


class TestPlatform:
  @pytest.mark.parametrize("platform", ["cuda12", "cuda13", "tpu"])
  def test_given(self, launcher, platform):
    launcher.run("true", CINN_JAX_PLATFORM=platform)
    assert launcher.made()[-1].endswith(f"the project[test,{platform}]")

  def test_further_extras(self, launcher):
    launcher.run("true")
    launcher.run("true", CINN_JAX_EXTRAS="gcs")
    assert [x.split("[")[1] for x in launcher.made()[1::2]] == [
      "test]",
      "test,gcs]",
    ]

  def test_further_extras_stay_until_others_are_named(self, launcher):
    launcher.run("true", CINN_JAX_EXTRAS="gcs,metrics")
    launcher.run("true")
    assert launcher.made().count("venv") == 1
    with open(launcher.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    launcher.run("true")
    assert launcher.made()[-1].endswith("[test,gcs,metrics]")
    launcher.run("true", CINN_JAX_EXTRAS="")
    launcher.run("true")
    assert launcher.made()[-1].endswith("[test]")
    assert launcher.made().count("venv") == 3

  def test_further_extras_outlast_a_failure(self, launcher):
    says = "above). CINN_JAX_EXTRAS= leaves the extras freia out.\n"
    for extras in ({"CINN_JAX_EXTRAS": "freia"}, {}):
      code, _, err = launcher.run("true", PIP_FAILS="3", **extras)
      assert code == 1 and err.endswith(says)
    assert launcher.run("true")[0] == 0
    assert launcher.made()[-1].endswith("[test,freia]")

  @pytest.mark.parametrize(
    ("drivers", "extras"),
    [
      ("580.65.06", "test,cuda13"),
      ("570.86.15", "test,cuda12"),
      ("1000.1\\n570.1", "test,cuda13"),
    ],
  )
  def test_from_the_driver(self, launcher, drivers, extras):
    launcher.add_tool("nvidia-smi", f"#!/bin/sh\nprintf '{drivers}\\n'\n")
    launcher.run("true", CINN_JAX_PLATFORM=None)
    assert launcher.made()[-1].endswith(f"[{extras}]")

  @pytest.mark.skipif(
    os.path.exists("/dev/accel0"), reason="this is a TPU host"
  )
  def test_a_driver_that_fails_is_none(self, launcher):
    launcher.add_tool(
      "nvidia-smi", "#!/bin/sh\necho NVIDIA has failed\nexit 9\n"
    )
    launcher.run("true", CINN_JAX_PLATFORM=None)
    assert launcher.made()[-1].endswith("[test]")

  def test_an_unknown_one_is_refused(self, launcher):
    said = refusal(launcher.run("true", CINN_JAX_PLATFORM="bogus"))
    assert "'bogus'; expected cpu, cuda12, cuda13 or tpu" in said
    assert not launcher.made()
