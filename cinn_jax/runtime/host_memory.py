"""A CPU's memory, kept between the calls of a program instead of given back.

XLA's CPU programs allocate their intermediate arrays as one block per call. The
C library of Linux returns a block so large to the kernel, which has to clear
every page of the next one: a fifth of a training step of the MNIST cINN. Kept
memory is worth large pages, too: a step walks through hundreds of megabytes,
and in pages of 4 kB the processor is forever looking up where the next one is.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform

import jax

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
# Of Linux's madvise(2).
_HUGE_PAGES = 14


def keep_freed_memory():
  """Has this process keep the memory that it frees, for its next allocation.

  And asks Linux for large pages, which it may refuse. Call it before JAX opens
  a device. It does nothing where JAX may find an accelerator, whose memory JAX
  keeps anyway, nor without glibc.
  """
  if _may_find_an_accelerator() or platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  # The main heap alone can hold blocks of any size; threads' own cannot.
  libc.mallopt(_ARENA_MAX, 1)
  libc.mallopt(_MMAP_MAX, 0)
  libc.mallopt(_TRIM_THRESHOLD, -1)  # Never.
  _ask_for_huge_pages(libc)


def _ask_for_huge_pages(libc):
  # For the heap that is yet to be filled: addresses alone are taken up here,
  # and memory once something is written there.
  page = os.sysconf("SC_PAGE_SIZE")
  size = page * (os.sysconf("SC_PHYS_PAGES") // 2)
  libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
  libc.free.argtypes = [ctypes.c_void_p]
  libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
  block = libc.malloc(size)
  if block:
    begin = -(-block // page) * page
    libc.madvise(begin, block + size - begin, _HUGE_PAGES)
    libc.free(block)


def _may_find_an_accelerator():
  if jax.config.jax_platforms:
    return jax.config.jax_platforms != "cpu"
  plugins = importlib.metadata.entry_points(group="jax_plugins")
  return bool(plugins) or importlib.util.find_spec("libtpu") is not None
