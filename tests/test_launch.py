"""launch/local.sh with a Python that only pretends, so nothing is installed."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BASH = shutil.which("bash")

# An interpreter, and pip in the environment that it makes, in one.
PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
  "-V "*) echo "Python ${FAKE_VERSION:-3.12.1}" ;;
  "-I "*) exec "$REAL_PYTHON" "$@" ;;
  "-c "*) exit "${FAKE_UNFIT:-0}" ;;
  "-m venv")
    [ -z "${VENV_FAILS:-}" ] || exit "$VENV_FAILS"
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    cp "$0" "$3/bin/python3.13"
    echo venv >>"$LOG"
    ;;
  "-m pip")
    echo "pip ${*: -1}" >>"$LOG"
    [ -z "${PIP_EDITS:-}" ] || echo "# edited" >>"$PIP_EDITS"
    sleep "${PIP_SECONDS:-0}"
    exit "${PIP_FAILS:-0}"
    ;;
  *) printf '<%s>' "$@" ;;
esac
"""


class Launcher:
  """A copy of the project's launcher beside a folder to call it from."""

  def __init__(self, folder):
    self.root = folder / "the project"
    (self.root / "launch").mkdir(parents=True)
    shutil.copy(ROOT / "launch" / "local.sh", self.root / "launch")
    shutil.copy(ROOT / "setup.cfg", self.root)
    self.elsewhere = folder / "else where"
    self.elsewhere.mkdir()
    self.tools = folder / "some tools"
    self.tools.mkdir()
    self.add_tool("fake python", PYTHON)
    self.log = folder / "log"
    self.log.touch()
    self.lock = self.root / ".venv.lock"
    self.env = {
      "PATH": f"{self.tools}:/usr/bin:/bin",
      "PYTHON": str(self.tools / "fake python"),
      "CINN_JAX_PLATFORM": "cpu",
      "LOG": str(self.log),
      "REAL_PYTHON": sys.executable,
    }

  def add_tool(self, name, text):
    (self.tools / name).write_text(text)
    (self.tools / name).chmod(0o755)

  def start(self, *command, cwd=None, script=None, **env):
    env = {k: v for k, v in {**self.env, **env}.items() if v is not None}
    # A shell cannot take back what it was started to ignore, as by nohup.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
      return subprocess.Popen(
        [script or self.root / "launch" / "local.sh", *command],
        cwd=cwd or self.elsewhere,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
      )
    finally:
      signal.signal(signal.SIGINT, handler)

  def run(self, *command, **how):
    process = self.start(*command, **how)
    try:
      out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      raise
    return process.returncode, out, err

  def made(self):
    """What was called so far: a venv or pip per line."""
    return self.log.read_text().splitlines()

  def wait_for(self, word):
    for _ in range(500):
      if any(line.startswith(word) for line in self.made()):
        return
      time.sleep(0.01)
    raise AssertionError(f"no {word} in {self.made()}")


@pytest.fixture
def launcher(tmp_path):
  return Launcher(tmp_path)


@pytest.fixture
def dead():
  """The number of a process that is no more."""
  process = subprocess.Popen(["true"])
  process.wait()
  return process.pid


def refusal(result):
  """The one line of a call that was refused."""
  code, out, err = result
  assert code == 1 and not out
  assert err.startswith("launch/local.sh: ") and err.count("\n") == 1
  return err


def test_syntax():
  script = ROOT / "launch" / "local.sh"
  subprocess.run([BASH, "-n", script], check=True)
  assert os.access(script, os.X_OK)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
def test_shellcheck():
  subprocess.run(["shellcheck", ROOT / "launch" / "local.sh"], check=True)


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
    venv = launcher.root / ".venv"
    assert out.splitlines() == [
      str(launcher.elsewhere),
      str(venv),
      str(venv / "bin" / "python"),
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

  def test_an_active_environment_is_not_what_it_is_made_from(self, launcher):
    launcher.add_tool("python3.13", PYTHON)
    launcher.run("true", PYTHON=None)
    with open(launcher.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    path = f"{launcher.root}/.venv/bin:{launcher.env['PATH']}"
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


class TestMadeAgain:
  def test_when_setup_cfg_changes(self, launcher):
    launcher.run("true")
    with open(launcher.root / "setup.cfg", "a") as config:
      config.write("# changed\n")
    left = launcher.root / ".venv" / "left over"
    left.touch()
    launcher.run("true")
    assert launcher.made().count("venv") == 2 and not left.exists()

  def test_when_the_python_or_the_platform_changes(self, launcher):
    launcher.run("true")
    launcher.run("true", FAKE_VERSION="3.13.0")
    launcher.run("true", FAKE_VERSION="3.13.0", CINN_JAX_PLATFORM="tpu")
    assert launcher.made().count("venv") == 3

  def test_when_the_project_moved(self, launcher):
    launcher.run("true")
    launcher.root = launcher.root.rename(launcher.root.with_name("moved"))
    launcher.run("true")
    assert launcher.made()[-1] == f"pip {launcher.root}[test]"

  def test_when_its_python_is_gone(self, launcher):
    launcher.run("true")
    (launcher.root / ".venv" / "bin" / "python").unlink()
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
    venv = launcher.root / ".venv"
    says = says.format(python=launcher.env["PYTHON"], venv=venv)
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


class TestLock:
  def test_concurrent_calls_make_it_once(self, launcher):
    calls = [launcher.start("python", "x", PIP_SECONDS="0.3") for _ in range(3)]
    results = [call.communicate(timeout=20) for call in calls]
    assert [call.returncode for call in calls] == [0] * 3
    assert [out for out, _ in results] == ["<x>"] * 3
    assert launcher.made().count("venv") == 1
    assert sum("Waiting for" in err for _, err in results) >= 1
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
    assert "cannot write to" in refusal(launcher.run("x", FAKE_VERSION="3.13"))
    launcher.root.chmod(0o755)
