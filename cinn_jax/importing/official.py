"""Loads the authors' PyTorch checkpoints of their cINNs as our variables.

The networks are those of Ardizzone et al. 2019, in the code published in 2020
with the FrEIA of that time.

We did not have the authors' files. Names and shapes follow the published code
and FrEIA's classes, and each one is checked. Every network has its layout in a
module of this package. If a file differs, loading it fails with the name of the
first key that does not fit, and that module is the one to change.

A file does not say how its network computes. The config has to, so configs that
describe another network than the published one are refused. In particular the
soft clamp must be `alpha * 0.636 * arctan(s / alpha)` ("cinn_code"). FrEIA
changed it in February 2021 and renamed the networks to `subnet1` and `subnet2`,
so files of later versions are refused too.
"""

import inspect
import os
import pathlib
import pickle
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from cinn_jax import models
from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.importing import imagenet, lsun, mnist
from cinn_jax.importing.reader import Reader
from cinn_jax.runtime import extras

# By `model.name`: the layout of the file, and the configs of the network.
NETWORKS: dict[str, tuple[ModuleType, str]] = {
  "dense_cinn": (mnist, "configs/mnist.py and configs/mnist.py:paper"),
  "haar_colorization": (lsun, "configs/colorize.py:lsun"),
  "imagenet_colorization": (imagenet, "configs/colorize.py:imagenet"),
}
SETTINGS = {"clamp": "cinn_code"}


def load_official(
  path: str | os.PathLike[str], config: Mapping[str, Any]
) -> dict[str, Any]:
  """Loads an official checkpoint in the structure that `flow.init` returns.

  Args:
    path: File that the authors' code wrote with `torch.save`.
    config: Experiment with the sections `model` and `task`; `NETWORKS` lists
      the configs of the published networks.

  Returns:
    {"params": ..., "constants": ...} of numpy arrays, and "batch_stats" if the
    network has batch norms.

  Raises:
    FileNotFoundError: if the file does not exist.
    RuntimeError: if torch is not installed.
    ValueError: if the file contains more than tensors and plain containers, if
      its tensors do not fit the config's network, or if the config describes
      another network than the published ones.
  """
  layout, model = _layout(config)
  tensors = read_tensors(path, layout.entry(model))
  return to_variables(tensors, config)


def to_variables(
  tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, Any]:
  """Converts a state dict as `load_official` does.

  Raises:
    ValueError: if a key is missing, unexpected or of another shape; names the
      first one.
  """
  layout, model = _layout(config)
  shapes = abstract_variables(*build(config))
  reader = Reader(tensors, shapes)
  layout.read(reader, model)
  return reader.variables()


def read_tensors(
  path: str | os.PathLike[str], entry: str = ""
) -> dict[str, np.ndarray]:
  """Reads the state dict in a file without running any code in it.

  Args:
    path: File that `torch.save` wrote.
    entry: Key of the state dict in the file; "" if the file is the state dict.

  Raises:
    FileNotFoundError: if the file does not exist.
    RuntimeError: if torch is not installed.
    ValueError: if the file has no such state dict, or contains more than
      tensors and plain containers.
  """
  try:
    import torch
  except ImportError:
    raise RuntimeError(
      f"Reading a PyTorch checkpoint needs torch: {extras.how_to_get('freia')}."
    ) from None
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f"No checkpoint {path}: pass an existing file.")
  try:
    content = torch.load(path, map_location="cpu", weights_only=True)
  except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
    raise ValueError(
      f"{path} is not a checkpoint of only tensors ({_first_line(error)}): pass"
      " a file that torch.save wrote from state dicts."
    ) from None
  if entry and isinstance(content, dict):
    content = content.get(entry)
  if not isinstance(content, dict):
    place = f"under the key {entry!r}" if entry else "at its top level"
    raise ValueError(
      f"{path} has no state dict {place}: does it belong to the network of the"
      " config?"
    )
  return {
    key: value.numpy()
    for key, value in content.items()
    if isinstance(value, torch.Tensor)
  }


def _layout(config: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
  """Returns the layout of a config's network, and its complete settings."""
  given = dict(config["model"])
  if given["name"] not in NETWORKS:
    known = (f"{name!r} ({where})" for name, (_, where) in NETWORKS.items())
    raise ValueError(
      f"Official checkpoints of {given['name']!r} cannot be imported; those of"
      f" these networks can: {', '.join(known)}."
    )
  layout, where = NETWORKS[given["name"]]
  builder: Any = models.BUILDERS[given["name"]]
  arguments = inspect.signature(builder).parameters
  model = {name: value.default for name, value in arguments.items()} | given
  settings = SETTINGS | layout.SETTINGS
  wrong = {k: value for k, value in settings.items() if model[k] != value}
  if wrong:
    flags = (f"--config.model.{name}={value}" for name, value in wrong.items())
    raise ValueError(
      f"The config describes another network than that of {where}, whose"
      f" official checkpoints can be imported: pass {' '.join(flags)}, or that"
      " config."
    )
  return layout, model


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
