"""The settings that configs share, and a recipe for each model of pictures.

Every config has the keys of `DATA` in its section `data`, of `RUN` in `train`
and, except RealNVP's, of `MODEL` in `model`. Flags such as `--config.data.NAME`
can therefore change them for any run.
"""

import math
import types
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import config_dict

from cinn_jax.experiment import (
  arguments,
  comparator_recipes,
  pair_recipes,
  pyramid_recipes,
  schedules,
  token_recipes,
)
from cinn_jax.images.crops import height_and_width

Size = int | tuple[int, int]
Section = dict[str, Any]

# The arguments of `data.sources.open_source`.
DATA: Section = {
  "source": "photos",
  "path": "",
  "tfds_name": "",
  "cache": "",
  "validation_fraction": 0.05,
  "max_short_side": 512,
  "train_split": "",
  "validation_split": "",
  "test_split": "",
  "crop": (),
  "resize": (),
}
MODEL: Section = {
  # What a step keeps for its gradients: store, remat or reversible; see
  # `bijections.Stack`. A run may resume with another value.
  "memory": "store",
  # Precision of the networks inside the flow: float32 or bfloat16.
  "compute_dtype": "float32",
}
RUN: Section = {
  # A run ends, to be started again, after this many minutes without a step.
  "watchdog_minutes": 30.0,
  # Pictures from which ActNorm starts, the first of the loader's order; 0 for
  # one batch.
  "init_batch_size": 0,
  # A workdir, a file of --mode=export or the name of a flow that comes with the
  # package, whose parameters a new run starts from; "" draws them.
  "init_from": "",
  # Spreads parameters and optimizer over the devices, for models that are too
  # large for one.
  "fully_sharded": False,
}
# The settings that the argument of every picture config takes.
SETTINGS = {
  "size": 32,
  "condition_net": ("trained", "frozen", "none"),
  # "full" is the published network and recipe if there is one, else ours;
  # "small" is ours for a laptop.
  "recipe": ("full", "small"),
}
# The argument of a picture config that is called without one.
LAPTOP = "cinn,recipe=small"
# Models that model their condition too. It has noise and the pictures' size.
MODEL_THE_CONDITION = ("caflow", "dual_glow_plus", "dual_glow")


def picture_config(
  file: str,
  argument: str,
  *,
  task: Callable[[Section, bool], Section],
  settings: Mapping[str, Any] = types.MappingProxyType({}),
) -> config_dict.ConfigDict:
  """Builds the config of a task on whole pictures.

  Args:
    file: Path of the config file, for error messages.
    argument: Text after the file's colon, such as "caflow,size=64".
    task: `(settings, models_condition) -> section`, the section `task` without
      `image_size`. `models_condition` is true for the models of
      `MODEL_THE_CONDITION`, which need the condition at the target's size.
    settings: More settings that the argument may name, as in `SETTINGS`.

  Raises:
    ValueError: for an argument that names no model or no setting.
  """
  model, chosen = arguments.parse(
    file, argument, MODELS, {**SETTINGS, **settings}
  )
  config = config_dict.ConfigDict(
    {"data": dict(DATA), "model": dict(MODEL), "train": dict(RUN)}
  )
  variant = {
    name: value
    for name, value in chosen.items()
    if name in ("size", "scale", "condition_net")
  }
  config.update(recipe(model, small=chosen["recipe"] == "small", **variant))
  section = task(chosen, model in MODEL_THE_CONDITION)
  config.task = {"image_size": chosen["size"], **section}
  if model in MODEL_THE_CONDITION and "condition_channels" in section:
    # One setting: a flag for either changes both.
    channels = config.task.get_ref("condition_channels")
    config.model.condition_channels = channels
  return config


def recipe(
  model: str,
  size: Size,
  *,
  small: bool,
  scale: int = 1,
  condition_net: str = "trained",
) -> dict[str, Section]:
  """Returns the sections `model`, `optimizer`, `train` and `augment`.

  Some models add a section `pretrain`.

  Args:
    model: One of `MODELS`.
    size: Size of the pictures.
    small: Takes our network and recipe for a laptop, for any size.
    scale: Ratio of the sides of a picture and of its condition.
    condition_net: "trained" with the flow; "frozen" as initialised; or "none",
      which gives the flow the condition itself.

  Raises:
    ValueError: if the model has no such condition network, or cannot do without
      one.
  """
  make, part = MODELS[model]
  sections = make(small, scale)
  if model in MODEL_THE_CONDITION and not small:
    # CAFLOW's code divides the nats by the numbers of dimensions of target and
    # condition, whose images have three channels, and we by the target's. Adam
    # takes the same steps with an eps that is as many times as large.
    sections["optimizer"]["eps"] = 1e-8 * 3 * math.prod(height_and_width(size))
  if "size" in sections["model"]:
    sections["model"]["size"] = size
  if model == "pyramid":
    if not isinstance(size, int):
      raise ValueError(f"pyramid takes square pictures, got {size}.")
    sections["model"]["base_size"] = size // scale
  if condition_net == "frozen":
    if not part:
      raise ValueError(
        f"{model} has no condition network of its own to freeze."
      )
    groups = sections["optimizer"].setdefault("groups", {})
    groups[part] = {"frozen_steps": -1}
  if condition_net == "none":
    if "condition_net" not in sections["model"]:
      raise ValueError(
        f"{model} cannot do without its {part or 'condition'};"
        " condition_net=none is for cinn."
      )
    sections["model"]["condition_net"] = False
  return sections


def _image_cinn(small, scale):
  return {
    "model": {
      "name": "image_cinn",
      "hidden": (64, 96, 128) if small else (64, 96, 128, 192),
      "depths": (4, 4, 4) if small else (8, 8, 8, 8),
      "condition_channels": (32, 64, 128) if small else (64, 96, 128, 192),
      "condition_convolutions": 2,
      "condition_net": True,
      "alpha": 1.0,
      "clamp": "cinn_paper",
      "mixing": "lu",
      "actnorm": True,
      "injector": True,
      "init_std": config_dict.placeholder(float),
      "zero_last": True,
    },
    **schedules.ours(small),
  }


def token_flow(
  name: str, size: Size, *, mean: float = 0.5, std: float = 0.25
) -> dict[str, Section]:
  """Returns the recipe of `tarflow` or `jet`, see `token_recipes.model`."""
  small = schedules.is_small(size)
  return {
    "model": token_recipes.model(name, size, small=small, mean=mean, std=std),
    "optimizer": token_recipes.optimizer(small),
    "train": schedules.train(small),
    "augment": {"min_scale": 0.2, "flip": True},
  }


def _pyramid(small, scale):
  if scale == 1:
    raise ValueError(
      "pyramid is for super-resolution, whose small picture is its base; for"
      " colours there is configs/colorize.py:pyramid."
    )
  model = pyramid_recipes.enlargement(scale, small=small)
  return {**schedules.ours(small), "model": model}


def _token_flow(name):
  def make(small, scale):
    del scale
    return token_flow(name, 32 if small else 64)

  return make


def comparator(name: str, model: Section, *, small: bool) -> dict[str, Section]:
  """Returns the recipe of a model that flows are compared with.

  Args:
    name: One of `comparator_recipes.NAMES`, "rrdb" or "esrgan".
    model: Its section `model`.
    small: Takes the length of a run on a laptop.
  """
  sections = {**schedules.ours(small), "model": model}
  if name in ("cgan", "esrgan"):
    sections["optimizer"] = comparator_recipes.adversarial_optimizer()
  return sections


def _comparator(name):
  def make(small, scale):
    del scale
    if name in comparator_recipes.NAMES:
      return comparator(
        name, comparator_recipes.picture_model(name), small=small
      )
    model = comparator_recipes.rrdb_model(name, small=small)
    sections = comparator(name, model, small=small)
    if name == "esrgan":
      # ESRGAN starts from the network that L1 has trained.
      steps = 200 if small else 200_000
      sections["pretrain"] = {
        "steps": steps,
        "batch_size": 32 if small else 16,
        "learning_rate": 2e-3 if small else 2e-4,
      }
    return sections

  return make


# By the model that an argument names, the default first: its recipe, and the
# part of its parameters that sees only the condition, if there is one.
MODELS: Mapping[str, tuple[Callable[[bool, int], dict[str, Section]], str]] = {
  "cinn": (_image_cinn, "condition_net"),
  "caflow": (pair_recipes.caflow, "condition_flow"),
  "dual_glow_plus": (pair_recipes.dual_glow_plus, "condition_flow"),
  "dual_glow": (pair_recipes.dual_glow, "condition_flow"),
  "srflow": (pair_recipes.srflow, "condition_net"),
  "hcflow": (pair_recipes.hcflow, "condition_net"),
  "pyramid": (_pyramid, ""),
  "tarflow": (_token_flow("tarflow"), "condition_net"),
  "jet": (_token_flow("jet"), "condition_net"),
  # Not flows: what flows are compared with.
  **{
    name: (_comparator(name), "condition_net")
    for name in comparator_recipes.NAMES
  },
  # Their whole network sees only the condition, so there is none to freeze.
  **{name: (_comparator(name), "") for name in ("rrdb", "esrgan")},
}
