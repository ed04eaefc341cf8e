"""A copy of the launch scripts, with stand-ins for the tools that they call."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]

# An interpreter, which is also the pip of the environments that it makes.
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

# Any other tool: adds its name and arguments to $CALLS, then runs BODY.
TOOL = """#!/usr/bin/env bash
{{ printf '%q ' "${{0##*/}}" "$@"; echo; }} >>"$CALLS"
{body}
"""

# Arguments that a careless script would change.
ARGUMENTS = ["a b", "", "*", "$HOME", "$(id)", "--x='y z'", 'a"b', "c\\d"]


class Project:
  """A copy of the project, one launch script of which is under test."""

  def __init__(self, folder, script="local.sh"):
    self.root = folder / "the project"
    shutil.copytree(ROOT / "launch", self.root / "launch")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
      shutil.copy(ROOT / name, self.root)
    for name in ("cinn_jax", "configs"):
      (self.root / name).mkdir()
    self.script = self.root / "launch" / script
    self.script.chmod(0o755)  # Slurm's script is not executable.
    self.elsewhere = folder / "else where"
    self.elsewhere.mkdir()
    self.tools = folder / "some tools"
    self.tools.mkdir()
    self.add_tool("fake python", PYTHON)
    self._log, self._calls = folder / "log", folder / "calls"
    self._log.touch()
    self._calls.touch()
    self.env = {
      "PATH": f"{self.tools}:/usr/bin:/bin",
      "PYTHON": str(self.tools / "fake python"),
      "CINN_JAX_PLATFORM": "cpu",
      "LOG": str(self._log),
      "CALLS": str(self._calls),
      "HOME": str(folder),
      "REAL_PYTHON": sys.executable,
    }

  @property
  def lock(self):
    return self.root / ".venv.lock"

  @property
  def venv(self):
    return self.root / ".venv" / "3.12"  # The version of PYTHON above.

  def add_tool(self, name, text):
    (self.tools / name).write_text(text)
    (self.tools / name).chmod(0o755)

  def fake(self, name, body=""):
    self.add_tool(name, TOOL.format(body=body))

  def start(self, *command, script=None, **env):
    env = {k: v for k, v in {**self.env, **env}.items() if v is not None}
    # A shell cannot reset what it was started to ignore, as under nohup.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
      return subprocess.Popen(
        [script or self.script, *command],
        cwd=self.elsewhere,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
      )
    finally:
      signal.signal(signal.SIGINT, handler)

  def run(self, *command, **options):
    return self.finish(self.start(*command, **options))

  def finish(self, process, stop=None):
    """Waits for a process, after a signal if given; returns code and output."""
    try:
      if stop:
        os.killpg(process.pid, stop)
      out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      raise
    return process.returncode, out, err

  def made(self):
    """Returns what made environments so far: "venv" and "pip PROJECT"."""
    return self._log.read_text().splitlines()

  def calls(self):
    """Returns every call of a fake tool so far, as lists of words."""
    return parse(self._calls.read_text())

  def wait_for(self, step):
    for _ in range(500):
      if any(line.startswith(step) for line in self.made()):
        return
      time.sleep(0.01)
    raise AssertionError(f"no {step} in {self.made()}")


def parse(text):
  """Splits lines of shell into lists of words, without comments."""
  lines = (shlex.split(line, comments=True) for line in text.splitlines())
  return [words for words in lines if words]
