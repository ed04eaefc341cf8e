"""Keeps a CPU's memory between the calls of a program.

XLA's CPU programs allocate all intermediate arrays as one block per call. The
C library of Linux returns such a large block to the kernel, which has to clear
every page of the next one. That takes a fifth of a training step of the MNIST
cINN. Memory that is kept also deserves large pages: a step walks through
hundreds of megabytes, and with pages of 4 kB the processor spends much time on
looking up addresses.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform

import jax

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
# Parameter of Linux's madvise(2).
_HUGE_PAGES = 14


def keep_freed_memory() -> None:
  """Lets this process keep the memory that it frees, for its next allocation.

  It also asks Linux for large pages, which Linux may refuse. Call it before JAX
  opens a device. It does nothing without glibc, or if JAX may find an
  accelerator, whose memory JAX keeps anyway.
  """
  if _may_find_an_accelerator() or platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  # Only the main heap can hold blocks of any size; those of threads cannot.
  libc.mallopt(_ARENA_MAX, 1)
  libc.mallopt(_MMAP_MAX, 0)
  libc.mallopt(_TRIM_THRESHOLD, -1)  # Never.
  _ask_for_huge_pages(libc)


def _ask_for_huge_pages(libc):
  # For the heap that will be filled later. The block only reserves addresses;
  # memory is used once something is written there.
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
