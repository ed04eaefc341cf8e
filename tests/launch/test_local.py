"""What launch/local.sh runs, with which Python and for which devices."""

import os

import pytest

from tests.support.launcher import ARGUMENTS, PYTHON, parse


class TestCommand:
  def test_runs_here_in_an_environment_made_once(self, project):
    show = 'pwd; echo "$VIRTUAL_ENV"; command -v python'
    for _ in range(2):
      code, out, err = project.run("bash", "-c", show)
      assert (code, out.splitlines()) == (
        0,
        [
          str(project.elsewhere),
          str(project.venv),
          str(project.venv / "bin" / "python"),
        ],
      )
    assert project.made() == ["venv", f"pip {project.root}[test]"]
    assert not err and not project.lock.is_symlink()

  def test_passes_arguments_and_exit_code_on(self, project):
    _, out, _ = project.run("python", "--restart", "--help", *ARGUMENTS)
    assert out == "<--restart><--help>" + "".join(f"<{x}>" for x in ARGUMENTS)
    assert project.run("bash", "-c", "exit 75")[0] == 75
    assert project.run("no-such-command")[0] == 127

  def test_works_from_a_relative_path_with_cdpath(self, project):
    code, out, _ = project.run(
      "python", "x", script="launch/local.sh", cwd=project.root, CDPATH="."
    )
    assert (code, out) == (0, "<x>")

  def test_dry_run_prints_what_would_run(self, project):
    project.fake("train")
    _, dry, _ = project.run("--dry-run", "train", *ARGUMENTS)
    assert not project.made() and not project.calls()
    project.run("train", *ARGUMENTS)
    venv, pip, command = parse(dry)
    assert venv[1:] == ["-m", "venv", str(project.venv)]
    assert project.made() == ["venv", f"pip {pip[-1]}"]
    assert project.calls() == [command]
    # An environment that is up to date is not made again.
    assert parse(project.run("--dry-run", "train")[1]) == [["train"]]

  @pytest.mark.parametrize(
    ("words", "env", "message"),
    [
      ([], {}, "usage: launch/local.sh COMMAND"),
      (["--restrat", "x"], {}, "unknown option --restrat"),
      (["x"], {"PYTHON": "no-such"}, "no Python 3.11 or later with venv"),
      (["x"], {"FAKE_UNFIT": "1"}, "no Python 3.11 or later with venv"),
      (["x"], {"CINN_JAX_PLATFORM": "npu"}, "'npu'; expected cpu, cuda12,"),
    ],
  )
  def test_bad_calls_are_refused(self, project, words, env, message):
    assert message in project.refusal(*words, **env)


class TestPython:
  @pytest.mark.parametrize(
    ("folder", "versions"),
    [
      ("{}/some tools", ["3.13.1"]),
      ("{}/.pyenv/versions/{}/bin", ["3.13.9", "3.13.10", "3.13.2"]),
      ("{}/.local/share/uv/python/cpython-{}-linux/bin", ["3.13.1"]),
    ],
  )
  def test_the_newest_one_is_found(self, project, folder, versions):
    home = project.tools.parent
    # pyenv's shim fails while another version is selected.
    project.add_tool("python3.13", "#!/bin/sh\nexit 127\n")
    for version in versions:
      file = home / folder.format(home, version) / "python3.13"
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(PYTHON.replace("<%s>", f"{version} %s"))
      file.chmod(0o755)
    newest = max(versions, key=len)
    for name in (None, "python3.13"):
      assert project.run("python", "x", PYTHON=name)[1] == f"{newest} x"

  def test_an_active_environment_is_not_used(self, project):
    project.add_tool("python3.13", PYTHON)
    project.run("true", PYTHON=None)
    with open(project.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    path = f"{project.venv}/bin:{project.env['PATH']}"
    result = project.run("python", "x", PYTHON=None, PATH=path)
    assert result[:2] == (0, "<x>")
    assert project.made().count("venv") == 2


class TestExtras:
  @pytest.mark.parametrize(
    ("platform", "driver", "extras"),
    [
      ("cuda12", "echo 580.65.06", "test,cuda12"),
      ("tpu", "", "test,tpu"),
      (None, "echo 580.65.06", "test,cuda13"),
      (None, "echo 570.86.15", "test,cuda12"),
      (None, "echo 1000.1; echo 570.1", "test,cuda13"),
      pytest.param(
        None,
        "echo NVIDIA has failed; exit 9",
        "test",
        marks=pytest.mark.skipif(
          os.path.exists("/dev/accel0"), reason="this machine has TPUs"
        ),
      ),
    ],
  )
  def test_the_platform_is_one(self, project, platform, driver, extras):
    project.add_tool("nvidia-smi", f"#!/bin/sh\n{driver}\n")
    project.run("true", CINN_JAX_PLATFORM=platform)
    assert project.made()[-1].endswith(f"[{extras}]")

  def test_they_stay_until_others_are_named(self, project):
    project.run("true", CINN_JAX_EXTRAS="gcs,metrics")
    project.run("true")
    assert project.made().count("venv") == 1
    project.run("true", FAKE_VERSION="3.12.2")
    assert project.made()[-1].endswith("[test,gcs,metrics]")
    for extras in ("", None):
      project.run("true", FAKE_VERSION="3.12.2", CINN_JAX_EXTRAS=extras)
    assert project.made()[-1].endswith("[test]")
    assert project.made().count("venv") == 3

  def test_they_outlast_a_failure(self, project):
    for extras in ("freia", None):
      code, _, err = project.run("true", PIP_FAILS="3", CINN_JAX_EXTRAS=extras)
      assert code == 1
      assert "without the extras freia, set CINN_JAX_EXTRAS= (empty)" in err
    assert project.run("true")[0] == 0
    assert project.made()[-1].endswith("[test,freia]")
