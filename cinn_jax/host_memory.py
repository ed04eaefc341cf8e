"""A CPU's memory, kept between the calls of a program instead of given back.

XLA's CPU programs allocate their intermediate arrays as one block per call. The
C library of Linux returns a block so large to the kernel, which has to clear
every page of the next one: a fifth of a training step of the MNIST cINN.
"""

import ctypes
import importlib.metadata
import importlib.util
import platform

import jax

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed():
  """Has this process keep the memory that it frees, for its next allocation.

  Call it before JAX opens a device. It does nothing where JAX may find an
  accelerator, whose memory JAX keeps anyway, nor without glibc.
  """
  if _may_find_an_accelerator() or platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  # The main heap alone can hold blocks of any size; threads' own cannot.
  libc.mallopt(_ARENA_MAX, 1)
  libc.mallopt(_MMAP_MAX, 0)
  libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _may_find_an_accelerator():
  if jax.config.jax_platforms:
    return jax.config.jax_platforms != "cpu"
  plugins = importlib.metadata.entry_points(group="jax_plugins")
  return bool(plugins) or importlib.util.find_spec("libtpu") is not None
