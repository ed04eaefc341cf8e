"""The commands of launch/local.sh, its Pythons and its devices."""

import os

import pytest

from tests.support.launcher import ARGUMENTS, PYTHON, parse


class TestCommand:
  def test_runs_here_in_an_environment_made_once(self, project):
    show = 'pwd; echo "$VIRTUAL_ENV"; command -v python; exit 75'
    python = project.venv / "bin" / "python"
    for _ in range(2):
      code, out, err = project.run("bash", "-c", show)
      assert code == 75
      assert out == f"{project.elsewhere}\n{project.venv}\n{python}\n"
    assert project.made() == ["venv", f"pip {project.root}[test]"] and not err

  def test_dry_run_prints_what_would_run(self, project):
    project.fake("train")
    # Options after COMMAND are COMMAND's.
    words = ["train", "--restart", "--help", *ARGUMENTS]
    _, dry, _ = project.run("--dry-run", *words)
    assert not project.made() and not project.calls()
    project.run(*words)
    venv, pip, command = parse(dry)
    assert venv[1:] == ["-m", "venv", str(project.venv)]
    assert project.made() == ["venv", f"pip {pip[-1]}"]
    assert project.calls() == [command] == [words]
    # An environment that is up to date is not made again.
    assert parse(project.run("--dry-run", "train")[1]) == [["train"]]


class TestPython:
  @pytest.mark.parametrize(
    ("folder", "versions"),
    [
      ("some tools", ["3.13.1"]),
      (".pyenv/versions/{}/bin", ["3.13.9", "3.13.10", "3.13.2"]),
      (".local/share/uv/python/cpython-{}-linux/bin", ["3.13.1"]),
    ],
  )
  def test_the_newest_one_is_found(self, project, folder, versions):
    # pyenv's shim fails while another version is selected.
    project.add_tool("python3.13", "#!/bin/sh\nexit 127\n")
    for version in versions:
      file = project.tools.parent / folder.format(version) / "python3.13"
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(PYTHON.replace("<%s>", f"{version} %s"))
      file.chmod(0o755)
    newest = max(versions, key=len)
    for name in (None, "python3.13"):
      assert project.run("python", "x", PYTHON=name)[1] == f"{newest} x"

  def test_an_active_environment_is_not_used(self, project):
    project.add_tool("python3.13", PYTHON)
    project.env["PATH"] = f"{project.venv}/bin:{project.env['PATH']}"
    for platform in ("cpu", "tpu"):
      result = project.run(
        "python", "x", PYTHON=None, CINN_JAX_PLATFORM=platform
      )
      assert result[:2] == (0, "<x>")


class TestExtras:
  @pytest.mark.parametrize(
    ("platform", "driver", "extras"),
    [
      ("cuda12", "echo 580.65.06", ",cuda12"),
      ("tpu", "", ",tpu"),
      (None, "echo 580.65.06", ",cuda13"),
      (None, "echo 570.86.15", ",cuda12"),
      (None, "echo 1000.1; echo 570.1", ",cuda13"),
      (None, "echo failed; exit 9", ",tpu" * os.path.exists("/dev/accel0")),
    ],
  )
  def test_the_platform_is_one(self, project, platform, driver, extras):
    project.add_tool("nvidia-smi", f"#!/bin/sh\n{driver}\n")
    project.run("true", CINN_JAX_PLATFORM=platform)
    assert project.made()[-1].endswith(f"[test{extras}]")

  def test_they_stay_until_others_are_named(self, project):
    for extras, version, made in (
      ("gcs,metrics", "3.12.1", "[test,gcs,metrics]"),
      (None, "3.12.2", "[test,gcs,metrics]"),
      ("", "3.12.2", "[test]"),
      (None, "3.12.3", "[test]"),
      ("+gcs", "3.12.3", "[test,gcs]"),
      ("+preflight", "3.12.3", "[test,gcs,preflight]"),
    ):
      project.run("true", FAKE_VERSION=version, CINN_JAX_EXTRAS=extras)
      assert project.made()[-1].endswith(made)
    # They are there already.
    count = len(project.made())
    project.run("true", FAKE_VERSION="3.12.3", CINN_JAX_EXTRAS="+gcs")
    assert len(project.made()) == count

  def test_they_outlast_a_failure(self, project):
    for extras in ("freia", None):
      code, _, err = project.run("true", PIP_FAILS="3", CINN_JAX_EXTRAS=extras)
      assert code == 1
      assert "without the extras freia, set CINN_JAX_EXTRAS= (empty)" in err
    assert project.run("true")[0] == 0
    assert project.made()[-1].endswith("[test,freia]")
