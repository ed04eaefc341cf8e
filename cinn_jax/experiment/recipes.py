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
# Pictures from which the ActNorms of Glow and of pair flows start: Glow's code.
INIT_BATCH_SIZE = 256
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
    ValueError: if the model cannot do without its condition network.
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
  if condition_net == "frozen":
    sections["optimizer"]["groups"] = {part: {"frozen_steps": -1}}
  if condition_net == "none":
    if "condition_net" not in sections["model"]:
      raise ValueError(
        f"{model} cannot do without its {part}; condition_net=none is for cinn."
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
    **_ours(small),
  }


def _caflow(small, scale):
  depths = (4, 4) if small else (8, 8)
  return _flow_pair(
    small, "caflow", latent_depths=depths, shared=False, **_LATENTS
  )


def _dual_glow_plus(small, scale):
  depth = 4 if small else 8
  return _flow_pair(small, "dual_glow_plus", latent_depth=depth, **_LATENTS)


def _dual_glow(small, scale):
  return _flow_pair(small, "dual_glow", relation_widths=(), relation_kernel=5)


_LATENTS = {"latent_hidden": 32, "latent_transitions": 1, "latent_alpha": 2.0}


def _flow_pair(small, name, **latents):
  """Returns the recipe of CAFLOW's code, or our small one.

  Departure: ActNorm starts from 256 pictures, as in Glow's code. CAFLOW's takes
  one batch of 8, which at the coarse scales has fewer positions than channels.
  """
  schedule = {
    "warmup_steps": 500,
    "boundaries": (69_500, 139_500),
    "factor": 0.1,
  }
  published = {
    **_published(batch_size=8, learning_rate=1e-3, schedule_options=schedule),
    # Whole pictures.
    "augment": {"min_scale": 1.0, "flip": False},
  }
  sections = {
    "model": {
      "name": name,
      "levels": 3 if small else 4,
      "depth": 6 if small else 16,
      "condition_depth": config_dict.placeholder(int),
      "hidden": 48 if small else 64,
      "transitions": 2,
      "alpha": 2.0,
      "clamp": "freia_2021",
      "coupling": "affine",
      "mixing": "full",
      "logit_alpha": 1e-5,
      "condition_logit_alpha": config_dict.placeholder(float),
      "condition_weight": 1e-3,
      "condition_channels": 3,
      **latents,
    },
    # All parts train together from the first step; see `training.phases`.
    "pretrain": {"unconditional_steps": 0, "fine_tune_from": -1},
    **(_ours(small) if small else published),
  }
  sections["train"]["init_batch_size"] = INIT_BATCH_SIZE
  return sections


def _srflow(small, scale):
  """Returns the recipe of SRFlow's code: scale 8 for faces, else DIV2K's."""
  steps, batch_size = 200_000, 16 if scale == 8 else 12
  boundaries = tuple(steps * n // 100 for n in (50, 75, 90, 95))
  large = {
    **_published(
      batch_size=batch_size,
      learning_rate=5e-4 if scale == 8 else 2.5e-4,
      schedule_options={"boundaries": boundaries, "factor": 0.5},
    ),
    "augment": {"min_scale": 0.2, "flip": True},
    # The encoder's number of steps is published; its rate is ours.
    "pretrain": {
      "steps": steps,
      "batch_size": batch_size,
      "learning_rate": 2e-4,
    },
  }
  ours = {
    **_ours(small),
    "pretrain": {"steps": 200, "batch_size": 32, "learning_rate": 2e-3},
  }
  if small:
    levels, blocks, taps = 3, 4, (0, 2)
  elif scale == 8:
    levels, blocks, taps = 4, 8, (1, 3, 5, 7)
  else:
    levels, blocks, taps = 3, 23, (1, 8, 15, 22)
  sections = {
    "model": {
      "name": "srflow",
      "levels": levels,
      "depth": 3 if small else 16,
      "transition": 2,
      "hidden": 32 if small else 64,
      "blocks": blocks,
      "taps": taps,
      "encoder_width": 32 if small else 64,
      "encoder_growth": 16 if small else 32,
      "correct_splits": False,
      "prior_features": False,
      "mixing": "full",
      # The floor of scales is exp(-alpha); the published one is 1e-4.
      "alpha": 1.0 if small else 9.21,
    },
    **(ours if small else large),
  }
  # The authors mean to keep the pretrained encoder fixed for the first half.
  half = sections["train"]["num_steps"] // 2
  sections["optimizer"]["groups"] = {"condition_net": {"frozen_steps": half}}
  return sections


def token_flow(
  name: str, size: Size, *, mean: float = 0.5, std: float = 0.25
) -> dict[str, Section]:
  """Returns the recipe of `tarflow` or `jet`, see `token_recipes.model`."""
  small = _is_small(size)
  return {
    "model": token_recipes.model(name, size, small=small, mean=mean, std=std),
    "optimizer": token_recipes.optimizer(small),
    "train": _train(small),
    "augment": {"min_scale": 0.2, "flip": True},
  }


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
  sections = {**_ours(small), "model": model}
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


def _is_small(size):
  """Tells if a recipe for pictures of this size is for a laptop."""
  return (size if isinstance(size, int) else max(size)) <= 32


def _ours(small):
  """Returns our training sections, for models without published ones."""
  return {
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "schedule_options": {"warmup_steps": 100},
      "weight_decay": 1e-5,
      "clip_norm": 10.0,
    },
    "train": _train(small),
    "augment": {"min_scale": 0.2, "flip": True},
  }


def _published(*, batch_size, **optimizer):
  """Returns the training sections that CAFLOW's and SRFlow's code share."""
  return {
    "optimizer": {
      "schedule": "multistep",
      "weight_decay": 0.0,
      "clip_norm": 0.0,
      **optimizer,
    },
    "train": {**_train(False), "batch_size": batch_size, "ema_decay": 0.0},
  }


def _train(small):
  every = 400 if small else 5_000
  return {
    "num_steps": 1_200 if small else 200_000,
    "batch_size": 32 if small else 64,
    "seed": 0,
    "ema_decay": 0.99 if small else 0.999,
    "log_every": 50 if small else 100,
    "eval_every": every,
    "sheet_every": every,
  }


# By the model that an argument names, the default first: its recipe, and the
# part of its parameters that sees only the condition.
MODELS: Mapping[str, tuple[Callable[[bool, int], dict[str, Section]], str]] = {
  "cinn": (_image_cinn, "condition_net"),
  "caflow": (_caflow, "condition_flow"),
  "dual_glow_plus": (_dual_glow_plus, "condition_flow"),
  "dual_glow": (_dual_glow, "condition_flow"),
  "srflow": (_srflow, "condition_net"),
  "tarflow": (_token_flow("tarflow"), "condition_net"),
  "jet": (_token_flow("jet"), "condition_net"),
  # No flows: what flows are compared with.
  **{
    name: (_comparator(name), "condition_net")
    for name in (*comparator_recipes.NAMES, "rrdb", "esrgan")
  },
}
