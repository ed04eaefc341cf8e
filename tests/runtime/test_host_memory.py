"""Freed memory that serves the next call, in large pages."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

# Linux says here if it may use large pages: [always], [madvise] or [never].
HUGE_PAGES = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import re
import resource
import sys
import jax
import jax.numpy as jnp
from cinn_jax.runtime import host_memory

if sys.argv[1] == "keep":
  host_memory.keep_freed_memory()
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
with open("/proc/self/smaps") as file:
  print(sum(map(int, re.findall(r"AnonHugePages: +(\\d+) kB", file.read()))))
"""


def _run(*arguments):
  """Returns the page faults of the last call, and kB in large pages."""
  result = subprocess.run(
    [sys.executable, "-c", _PROGRAM, *arguments],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  return map(int, result.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="only glibc has these settings"
)
def test_freed_memory_is_used_again():
  faults, huge = _run("keep")
  assert faults < 2_000
  if HUGE_PAGES.is_file() and "[never]" not in HUGE_PAGES.read_text():
    assert huge > 60_000
  # Without the setting, the kernel has to clear new pages.
  faults, _ = _run("leave")
  assert faults > 2_000
