"""launch/local.sh with a Python that only pretends, so nothing is installed."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
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
    self.venv = self.root / ".venv" / "3.12"  # Of the Python above.
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


def refusal(result):
  """The one line of a call that was refused."""
  code, out, err = result
  assert code == 1 and not out
  assert err.startswith("launch/local.sh: ") and err.count("\n") == 1
  return err
