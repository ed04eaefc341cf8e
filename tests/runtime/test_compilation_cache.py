"""Compiled programs serve the next start, and damaged ones do no harm."""

import os
import pathlib
import socket
import subprocess
import sys
import types

import pytest

from cinn_jax.runtime import compilation_cache

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import sys
import jax
from cinn_jax.runtime import compilation_cache

compilation_cache.keep(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

@jax.jit
def double(x):
  return 2 * x

print(double(4))
"""


def _run(folder, **env):
  """Returns what a program that compiles a function writes to stderr."""
  environment = {**os.environ, "JAX_PLATFORMS": "cpu", **env}
  if not env:
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  result = subprocess.run(
    [sys.executable, "-c", PROGRAM, str(folder)],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0 and result.stdout == "8\n", result.stderr
  return result.stderr


def _entries(folder):
  return {path: path.read_bytes() for path in folder.rglob("jit_double-*")}


@pytest.mark.parametrize(
  "share", [0.5, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 0.99))]
)
def test_half_an_entry_is_replaced(tmp_path, share):
  _run(tmp_path)
  [(path, whole)] = _entries(tmp_path).items()
  path.write_bytes(whole[: int(len(whole) * share)])
  assert "Error" not in _run(tmp_path)
  [(_, replaced)] = _entries(tmp_path).items()
  assert len(replaced) > 0.99 * len(whole)
  # The next start reads it.
  os.utime(path, (0, 0))
  assert "Error" not in _run(tmp_path)
  assert path.stat().st_mtime == 0


def test_whole_entries_stay(tmp_path):
  _run(tmp_path)
  before = _entries(tmp_path)
  [path] = before
  (path.parent / "jit_other-1-cache").write_bytes(b"no known compression")
  for entry in path.parent.iterdir():
    os.utime(entry, (0, 0))
  assert "Error" not in _run(tmp_path)
  assert _entries(tmp_path) == before and path.stat().st_mtime == 0
  assert (path.parent / "jit_other-1-cache").exists()


def test_a_folder_set_in_jax_stays(tmp_path):
  chosen = tmp_path / "chosen"
  _run(tmp_path / "kept", JAX_COMPILATION_CACHE_DIR=str(chosen))
  assert _entries(chosen) and not (tmp_path / "kept").exists()


def test_a_folder_of_another_user_is_no_obstacle(tmp_path, monkeypatch):
  own = tmp_path / socket.gethostname()
  own.mkdir()
  (own / "jit_other-1-cache").write_bytes(b"")

  def refuse(*_, **__):
    raise PermissionError("not yours")

  for name in ("touch", "unlink"):
    monkeypatch.setattr(pathlib.Path, name, refuse)
  kept = {}
  config = types.SimpleNamespace(update=kept.__setitem__)
  monkeypatch.setattr(
    compilation_cache, "jax", types.SimpleNamespace(config=config)
  )
  compilation_cache.keep(tmp_path)
  assert kept == {"jax_compilation_cache_dir": str(own)}
