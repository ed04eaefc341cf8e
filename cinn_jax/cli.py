"""What the commands share: `--config`, `--debug`, and errors as one line.

A command's module lists these two flags in its --help by
`flags.adopt_module_key_flags(command)`.
"""

import functools
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "The experiment: FILE.py, or FILE.py:VARIANT."
)
_DEBUG = flags.DEFINE_bool(
  "debug", False, "Show where in the code an error came up."
)


def run(
  work: Callable[..., None],
  required: Sequence[str] = (),
  argument: str | None = None,
):
  """Parses the flags and runs a command; what goes wrong is one line.

  Args:
    work: the command.
    required: names of flags that it always needs.
    argument: an example of the one argument that the command takes besides its
      flags, which `work` gets; None for no argument.
  """
  flags.mark_flags_as_required(required)

  def main(argv):
    try:
      work(*argv[1:])
    except KeyboardInterrupt:
      sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
      if _DEBUG.value:
        raise
      message = " ".join(str(error).split())
      sys.exit(f"Error: {message} (--debug shows where.)")

  app.run(main, flags_parser=functools.partial(_parse, argument))


def _parse(argument, argv):
  """Parses flags and config; what is wrong with them is one line."""
  try:
    others = flags.FLAGS(argv)[1:]
    if argument and len(others) != 1:
      raise ValueError(f"expected one argument, such as {argument}.")
    if others and not argument:
      raise ValueError(f"Unexpected {' '.join(others)}: is a pattern unquoted?")
    if CONFIG.value is not None:
      _ = CONFIG.value.to_dict  # Raises where the file could not be read.
  except Exception as error:  # The config is code: it may raise anything.
    if "--debug" in argv:
      raise
    sys.exit(f"Error: {_reason(error)} (--help lists the flags.)")
  return [*argv[:1], *others]


def _reason(error):
  """The cause of an error that quotes others, or their whole traces."""
  while error.args and isinstance(error.args[0], Exception):
    error = error.args[0]
  if isinstance(error, KeyError):
    name, *hint = str(error.args[0]).split("\n")
    return " ".join([f"the config has no setting {name}.", *hint])
  text = str(error).strip()
  if isinstance(error, OSError) or "Traceback" in text:
    text = text.splitlines()[-1].strip().removeprefix("ValueError: ")
  return " ".join(text.split())
