"""Compiled programs, kept in a folder for the next start to be quick."""

import pathlib
import re
import socket
import warnings

import jax

_UNREADABLE = re.compile(
  r"Error reading persistent compilation cache entry for '(.+?)'"
)


def keep(folder):
  """Keeps what is compiled from here on, unless JAX was told another folder.

  What a start that was killed left half-written is thrown away, which JAX
  itself would warn of, and compile anew, at every start.
  """
  if not folder or jax.config.jax_compilation_cache_dir:
    return
  # A folder per machine: what is compiled for one CPU does not suit another.
  own = pathlib.Path(folder).expanduser() / socket.gethostname()
  jax.config.update("jax_compilation_cache_dir", str(own))
  show = warnings.showwarning

  def throw_away_or_show(message, *arguments, **options):
    if not (found := _UNREADABLE.match(str(message))):
      show(message, *arguments, **options)
      return
    for path in own.glob(f"{found[1]}-*"):
      path.unlink(missing_ok=True)

  warnings.showwarning = throw_away_or_show
