"""The authors' PyTorch checkpoints of their cINNs as our variables.

(Ardizzone et al. 2019, published code of 2020, on the FrEIA of that time.)

The authors' files were not at hand: names and shapes follow the published code
and FrEIA's classes, and are checked one by one. They are in a module of this
package per network; a file that differs is refused with the name of the first
key that does, and that module is what to change.

The files do not say how a network computes: its config has to, and is refused
where it names another network than the published. So the soft clamp has to be
`alpha * 0.636 * arctan(s / alpha)` ("cinn_code"). FrEIA changed it in February
2021, and renamed the networks `subnet1` and `subnet2`, so files from then on
are refused.
"""

import inspect
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from cinn_jax import models
from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.importing import imagenet, lsun, mnist
from cinn_jax.importing.reader import Reader

# By `model.name`: the layout of its file, and where its configs are.
NETWORKS = {
  "dense_cinn": (mnist, "configs/mnist.py and configs/mnist.py:paper"),
  "haar_colorization": (lsun, "configs/colorize.py:lsun"),
  "imagenet_colorization": (imagenet, "configs/colorize.py:imagenet"),
}
SETTINGS = {"clamp": "cinn_code"}


def load_official(path, config: Mapping) -> dict[str, Any]:
  """The variables in an official checkpoint, as `flow.init` lays them out.

  Args:
    path: of the file, as the authors' `torch.save` wrote it.
    config: of the experiment, with the sections `model` and `task`; see
      `NETWORKS` for those of the published networks.

  Returns:
    {"params": ..., "constants": ...}, numpy arrays, and "batch_stats" where the
    network has batch norms.

  Raises:
    FileNotFoundError: where there is no such file.
    RuntimeError: without torch.
    ValueError: for a file that holds more than tensors and plain containers,
      or other tensors than the config's network has, or for a config of
      another network.
  """
  layout, model = _layout(config)
  tensors = read_tensors(path, layout.entry(model))
  return to_variables(tensors, config)


def to_variables(
  tensors: Mapping[str, np.ndarray], config: Mapping
) -> dict[str, Any]:
  """`load_official` from the state dict itself, by key.

  Raises:
    ValueError: names the first key that is missing, unexpected, or of another
      shape.
  """
  layout, model = _layout(config)
  shapes = abstract_variables(*build(config))
  reader = Reader(tensors, shapes)
  layout.read(reader, model)
  return reader.variables()


def read_tensors(path, entry: str = "") -> dict[str, np.ndarray]:
  """The state dict in a file; nothing in it is executed.

  Args:
    entry: of the file, that is the state dict; "" where the file is it.

  Raises: as `load_official`.
  """
  try:
    import torch
  except ImportError:
    raise RuntimeError(
      "Reading a PyTorch checkpoint needs torch: pip install -e '.[freia]'."
    ) from None
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f"No checkpoint {path}: pass a file.")
  try:
    content = torch.load(path, map_location="cpu", weights_only=True)
  except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
    raise ValueError(
      f"{path} is no checkpoint of tensors alone ({_first_line(error)}): pass"
      " a file as torch.save wrote it from state dicts."
    ) from None
  if entry and isinstance(content, dict):
    content = content.get(entry)
  if not isinstance(content, dict):
    where = f"entry {entry!r}" if entry else "content"
    raise ValueError(
      f"{path} has no state dict as its {where}: is it of the network that the"
      " config names?"
    )
  return {
    key: value.numpy()
    for key, value in content.items()
    if isinstance(value, torch.Tensor)
  }


def _layout(config):
  """(The module of a config's network, its settings with all defaults)."""
  given = dict(config["model"])
  if given["name"] not in NETWORKS:
    known = (f"{name!r} ({where})" for name, (_, where) in NETWORKS.items())
    raise ValueError(
      f"Official checkpoints of {given['name']!r} cannot be imported: there are"
      f" {', '.join(known)}."
    )
  layout, where = NETWORKS[given["name"]]
  arguments = inspect.signature(models.BUILDERS[given["name"]]).parameters
  model = {name: value.default for name, value in arguments.items()} | given
  settings = {**SETTINGS, **getattr(layout, "SETTINGS", {})}
  wrong = {k: value for k, value in settings.items() if model[k] != value}
  if wrong:
    flags = (f"--config.model.{name}={value}" for name, value in wrong.items())
    raise ValueError(
      f"Official checkpoints are of the network of {where}, the config is of"
      f" another: pass {' '.join(flags)}, or that config."
    )
  return layout, model


def _first_line(error):
  return (str(error).splitlines() or [type(error).__name__])[0]
