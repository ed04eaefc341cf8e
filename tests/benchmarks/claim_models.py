"""The methods of `claims.py`."""

import pathlib
import runpy
from typing import Any, NamedTuple

from ml_collections import ConfigDict

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
SIZE = 64


class Method(NamedTuple):
  """A method on one task.

  Attributes:
    config: File and argument of its config.
    settings: The settings that differ in its section `model`.
    rates: Learning rates to choose from.
    batch_size: Pictures per step.
    kind: "flow", "regression", "cvae" or "gan", which decides its criterion.
    start: Config that first trains the generator, with the same settings for
      its network, for half of the time; "" for none.
  """

  config: str
  settings: dict[str, Any]
  rates: tuple[float, ...]
  batch_size: int
  kind: str = "flow"
  start: str = ""


_FLOW = (3e-4, 1e-3, 3e-3)
_GAN = (1e-4, 3e-4, 1e-3)
_PICTURE = f"size={SIZE},recipe=small"
_CAFLOW = {"depth": 4, "latent_depths": (2, 2), "hidden": 40}

# By task and method.
METHODS: dict[str, dict[str, Method]] = {
  "colorize": {
    "cinn": Method("colorize:laptop", {}, _FLOW, 32),
    # Models RGB given the luma, as published; the others model ab given L.
    "caflow": Method(
      f"colorize_rgb:caflow,{_PICTURE}",
      {**_CAFLOW, "latent_hidden": 40},
      _FLOW,
      16,
    ),
    "regression": Method(
      "colorize:regression",
      {"widths": (64, 128, 200)},
      _FLOW,
      32,
      "regression",
    ),
    "cvae": Method("colorize:cvae", {}, _FLOW, 32, "cvae"),
    "cgan": Method(
      "colorize:cgan", {"widths": (48, 112, 176)}, _GAN, 32, "gan"
    ),
    "cgan with L1": Method(
      "colorize:cgan",
      {"widths": (48, 112, 176), "l1_weight": 1.0},
      _GAN,
      32,
      "gan",
    ),
  },
  "super_resolution": {
    "cinn": Method(
      f"super_resolution:cinn,{_PICTURE}",
      {"injector": False, "depths": (2, 3, 4)},
      _FLOW,
      16,
    ),
    "caflow": Method(
      f"super_resolution:caflow,{_PICTURE}",
      {**_CAFLOW, "latent_hidden": 32},
      _FLOW,
      16,
    ),
    # The start of ESRGAN.
    "regression": Method(
      f"super_resolution:rrdb,{_PICTURE}",
      {"blocks": 7},
      _FLOW,
      16,
      "regression",
    ),
    "cvae": Method(
      f"super_resolution:cvae,{_PICTURE}",
      {"widths": (40, 80, 120, 152), "encoder_widths": (32, 64, 96, 112)},
      _FLOW,
      16,
      "cvae",
    ),
    "cgan": Method(
      f"super_resolution:esrgan,{_PICTURE}",
      {"blocks": 5, "growth": 28, "noise": 4},
      _GAN,
      16,
      "gan",
      start=f"super_resolution:rrdb,{_PICTURE}",
    ),
  },
  # The networks of the configs: with convolutions of 3 million parameters, only
  # a few steps would fit into the time.
  "digits": {
    "cinn": Method("mnist:minimal", {"depth": 10, "hidden": (128,)}, _FLOW, 64),
    "regression": Method("mnist:regression", {}, _FLOW, 64, "regression"),
    "cvae": Method("mnist:cvae", {}, _FLOW, 64, "cvae"),
    "cgan": Method("mnist:cgan", {}, _GAN, 64, "gan"),
  },
}


def read_config(name: str) -> ConfigDict:
  """Returns a config by its file and argument, such as "mnist:minimal"."""
  file, _, argument = name.partition(":")
  return runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](argument)


def make_start(task: str, method: str) -> ConfigDict | None:
  """Returns the config that first trains a method's generator, or None."""
  chosen = METHODS[task][method]
  if not chosen.start:
    return None
  config = read_config(chosen.start)
  config.model.update(
    {k: v for k, v in chosen.settings.items() if k in config.model}
  )
  config.train.batch_size = chosen.batch_size
  return config


def make_config(task: str, method: str, digits: str = "") -> ConfigDict:
  """Returns the config of a method; `digits` is the folder of MNIST's files."""
  chosen = METHODS[task][method]
  config = read_config(chosen.config)
  config.model.update(chosen.settings)
  config.train.batch_size = chosen.batch_size
  if digits and task == "digits":
    config.data.path = digits
  return config
