"""The command line that all commands share: the config, and errors as one line.

A module shows `--config` and `--debug` in its --help after
`flags.adopt_module_key_flags(cli)`.
"""

import functools
import io
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "The experiment: FILE.py, or FILE.py:VARIANT."
)
_DEBUG = flags.DEFINE_bool("debug", False, "Show the stack trace of an error.")


def config_name() -> str:
  """Returns the file and variant of --config, "colorize.py:lsun", or ""."""
  if CONFIG.value is None:
    return ""
  flag: Any = flags.FLAGS["config"]
  return pathlib.Path(flag.config_filename).name


def default_workdir() -> pathlib.Path:
  """Returns the folder of the config's run, if no other is given.

  It is `workdirs/colorize` for `configs/colorize.py`. `:lsun` makes it
  `colorize-lsun` and `:caflow,scale=4` `caflow-scale=4`, since commas separate
  `--workdirs`.
  """
  file, _, variant = config_name().partition(":")
  name = pathlib.Path(file).stem + (f"-{variant}" if variant else "")
  path = pathlib.Path("workdirs") / name.replace(",", "-")
  older = pathlib.Path("workdirs") / name  # Earlier versions kept commas.
  return older if older.exists() and not path.exists() else path


def other_data(*, counts: bool = True) -> dict[str, Any]:
  """Returns the --config.data settings, which override a checkpoint's.

  Tells which other settings were given. If data does not count either, it is
  among them.
  """
  if CONFIG.value is None:
    return {}
  given = config_flags.get_override_values(flags.FLAGS["config"])
  data = {
    name.removeprefix("data."): value
    for name, value in given.items()
    if name.startswith("data.")
  }
  if unused := [k for k in given if not counts or not k.startswith("data.")]:
    print(
      f"Not used: {', '.join(f'--config.{name}' for name in unused)}. A trained"
      " run's config comes from its checkpoint"
      f"{'; only --config.data counts' if counts else ''}."
    )
  return data


def check_flags_of(mode: str, modes_of: Mapping[str, Sequence[str]]) -> None:
  """Refuses flags of other modes: a forgotten --mode=sample would train.

  Args:
    mode: The mode.
    modes_of: The modes that a flag is for, by its name.

  Raises:
    ValueError: if a flag of other modes was given.
  """
  for name, modes in modes_of.items():
    if flags.FLAGS[name].present and mode not in modes:
      instead = "change --mode, or leave it out."
      if (mode, name) == ("train", "seed"):
        instead = "set --config.train.seed."
      raise ValueError(
        f"--{name} is for --mode={' or '.join(modes)}, not for --mode={mode}:"
        f" {instead}"
      )


def run(
  work: Callable[..., None],
  required: Sequence[str] = (),
  argument: str | None = None,
) -> None:
  """Parses the flags and runs a command; prints errors as one line.

  Args:
    work: The command. It gets the argument, if there is one.
    required: Names of flags that must be given.
    argument: An example of the one argument that the command takes in addition
      to its flags; None if it takes none.
  """
  flags.mark_flags_as_required(required)
  for stream in (sys.stdout, sys.stderr):
    # Names of files need not be UTF-8.
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")

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
  """Parses flags and config, and exits with one line if they are wrong."""
  try:
    others = flags.FLAGS(argv)[1:]
    if argument and len(others) != 1:
      raise ValueError(f"expected one argument, such as {argument}.")
    if others and not argument:
      raise ValueError(f"Unexpected {' '.join(others)}: is a pattern unquoted?")
    if CONFIG.value is not None:
      _ = CONFIG.value.to_dict  # Raises if the file could not be read.
  except Exception as error:  # The config is code and may raise anything.
    if "--debug" in argv:
      raise
    sys.exit(f"Error: {_reason(error)}")
  return [*argv[:1], *others]


def _reason(error):
  """Returns the cause of an error that quotes others or their traces."""
  while error.args and isinstance(error.args[0], Exception):
    error = error.args[0]
  if isinstance(error, KeyError):
    name, *hint = str(error.args[0]).split("\n")
    words = f"the config has no setting {name}; its file lists them."
    return " ".join([words, *hint])
  text = str(error).strip()
  if isinstance(error, OSError) or "Traceback" in text:
    text = text.splitlines()[-1].strip().removeprefix("ValueError: ")
  return f"{' '.join(text.split())} (--help lists the flags.)"
