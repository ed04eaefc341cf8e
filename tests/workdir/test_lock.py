"""A workdir has one live run, and must be writable."""

import os
import subprocess
import sys

import jax
import pytest

from cinn_jax.runtime import processes
from cinn_jax.workdir import lock
from cinn_jax.workdir.lock import check_shared, hold_lock, holder, is_held

_HOLD = """
import sys
from cinn_jax.workdir.lock import hold_lock
with hold_lock(sys.argv[1]):
  print("held", flush=True)
  sys.stdin.read()
"""


def test_second_run_is_refused_until_the_first_ends(tmp_path):
  workdir = tmp_path / "new" / "run"
  assert not is_held(workdir)
  with subprocess.Popen(
    [sys.executable, "-c", _HOLD, str(workdir)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as other:
    assert other.stdout.readline() == b"held\n"
    assert is_held(workdir)
    with (
      pytest.raises(OSError, match=f"in use by another.*process {other.pid} "),
      hold_lock(workdir),
    ):
      pass
    other.kill()  # It cannot release the lock itself.
  assert not is_held(workdir)
  with hold_lock(workdir):
    assert holder(workdir).startswith(f"process {os.getpid()} on ")


def test_unwritable_workdir_raises(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(OSError, match=r"Cannot write in .*file/run \(Not a direc"),
    hold_lock(tmp_path / "file" / "run"),
  ):
    pass


def test_a_folder_that_is_not_shared_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(processes, "same_number", lambda: 12)
  monkeypatch.setattr(lock, "_NFS_SECONDS", 0.2)
  check_shared(tmp_path)
  # Nothing is left.
  assert not list(tmp_path.iterdir())
  # The second process sees what the first one wrote, or does not.
  monkeypatch.setattr(processes, "is_first", lambda: False)
  (tmp_path / ".shared-12").touch()
  check_shared(tmp_path)
  (tmp_path / ".shared-12").rename(tmp_path / ".shared-13")
  for folder in (tmp_path, tmp_path / "own"):
    with pytest.raises(ValueError, match="is not one folder for all processes"):
      check_shared(folder)
