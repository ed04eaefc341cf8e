"""Memory that a program freed serves its next call, without new pages."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
_PROGRAM = """
import resource
import sys
import jax
import jax.numpy as jnp
from cinn_jax import host_memory

if sys.argv[1] == "keep":
  host_memory.keep_freed()
rows = jnp.arange(20.0)

@jax.jit
def run(x):
  # Rows of 5 MB, kept until all are there: more than a thread's heap can hold.
  return jnp.max(jnp.sort(jax.lax.map(lambda k: jnp.sin(x * k), rows), axis=0))

x = jnp.ones(1_250_000)
assert run.lower(x).compile().memory_analysis().temp_size_in_bytes > 80e6
for _ in range(6):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  run(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments):
  result = subprocess.run(
    [sys.executable, "-c", _PROGRAM, *arguments],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  return int(result.stdout)


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="Other C libraries are left alone."
)
def test_freed_memory_is_used_again():
  assert _faults("keep") < 2_000
  # Else the program is too small to show it.
  assert _faults("leave") > 2_000
