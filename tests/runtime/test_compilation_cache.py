"""What was compiled is there at the next start, or is made again."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import sys, warnings
import jax
from cinn_jax.runtime import compilation_cache

compilation_cache.keep(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

@jax.jit
def double(x):
  return 2 * x

print(double(4))
warnings.warn("another")
"""


def _run(folder, **env):
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
  assert "UserWarning: another" in result.stderr
  return result.stderr


def _entries(folder):
  return {path: path.read_bytes() for path in folder.rglob("jit_double-*")}


def test_what_was_cut_off_is_written_again(tmp_path):
  _run(tmp_path)
  [(path, whole)] = _entries(tmp_path).items()
  path.write_bytes(whole[: len(whole) // 2])
  assert "Error reading" not in _run(tmp_path)
  [(_, again)] = _entries(tmp_path).items()
  assert len(again) > len(whole) // 2
  # And read.
  os.utime(path, (0, 0))
  assert "Error" not in _run(tmp_path)
  assert path.stat().st_mtime == 0


def test_a_folder_that_jax_was_told_stays(tmp_path):
  told = tmp_path / "told"
  _run(tmp_path / "kept", JAX_COMPILATION_CACHE_DIR=str(told))
  assert _entries(told) and not (tmp_path / "kept").exists()
