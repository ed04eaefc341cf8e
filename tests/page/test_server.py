"""The server answers only this machine, and contacts no other."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Writes a line for each address outside this machine that Python connects to or
# looks up.
_WATCH = """
import sys
def watch(event, args):
  if event == "socket.connect":
    place = args[1]
    if isinstance(place, tuple) and place[0] not in ("127.0.0.1", "::1"):
      print("REQUEST", place, file=sys.stderr, flush=True)
  elif event == "socket.getaddrinfo":
    if args[0] not in ("127.0.0.1", "localhost", "::1", None):
      print("REQUEST", args[0], file=sys.stderr, flush=True)
sys.addaudithook(watch)
"""


class Command:
  """A running `python -m cinn_jax.page`.

  Args:
    workdir: The run.
    folder: Folder for temporary files.
  """

  def __init__(self, workdir, folder):
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_WATCH)
    self.temporary = folder / "temporary"
    self.temporary.mkdir()
    path = os.pathsep.join([str(folder), str(ROOT)])
    self._log = folder / "log"
    # A file, since nobody reads a pipe while the command runs.
    errors = self._log.open("w")
    self._process = subprocess.Popen(
      [
        *(sys.executable, "-m", "cinn_jax.page", f"--workdirs={workdir}"),
        *("--nobrowser", "--compilation_cache="),
      ],
      cwd=ROOT,
      env={
        **os.environ,
        "PYTHONPATH": path,
        "TMPDIR": str(self.temporary),
        # Settings of gradio that would open the page to others.
        "GRADIO_SHARE": "True",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_ANALYTICS_ENABLED": "True",
      },
      stdout=subprocess.PIPE,
      stderr=errors,
      text=True,
    )
    errors.close()
    for line in self._process.stdout:
      if match := re.search(r"The page is at (\S+)/\.", line):
        self.url = match[1]
        return
    raise AssertionError(self._log.read_text())

  def stop(self):
    """Ends the command, and returns its exit code and its messages."""
    self._process.send_signal(signal.SIGTERM)
    self._process.communicate(timeout=120)
    return self._process.returncode, self._log.read_text()


@pytest.fixture(scope="module")
def command(workdirs):
  with tempfile.TemporaryDirectory() as folder:
    # This run compiles nothing before the first picture.
    command = Command(workdirs["inpaint"], pathlib.Path(folder) / "page")
    try:
      yield command
    finally:
      command.stop()


def _get(url, **headers):
  request = urllib.request.Request(url, headers=headers)
  with urllib.request.urlopen(request, timeout=30) as reply:
    return reply.headers, reply.read().decode()


def test_the_browser_is_told_to_load_nothing_from_elsewhere(command):
  headers, text = _get(command.url)
  policy = headers["content-security-policy"]
  assert policy.startswith("default-src 'self'") and "http" not in policy
  assert "Point and ask" in text
  _, style = _get(f"{command.url}/theme.css")
  assert "http" not in re.sub(r"http://www\.w3\.org", "", style)


def test_only_this_machine_can_open_the_page(command):
  assert command.url.startswith("http://127.0.0.1:")
  with pytest.raises(urllib.error.HTTPError, match="400"):
    _get(command.url, Host="example.org")


def test_files_of_others_are_not_served(command):
  with pytest.raises(urllib.error.HTTPError, match="403"):
    _get(f"{command.url}/gradio_api/file=/etc/passwd")


def test_the_command_leaves_no_files_and_makes_no_requests(command):
  _get(command.url)
  code, messages = command.stop()
  assert code == 0
  assert "REQUEST" not in messages and "Traceback" not in messages
  assert not [*command.temporary.glob("cinn_jax_page_*")]
