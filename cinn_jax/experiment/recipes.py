"""Settings that configs share, and a recipe for each model of pictures.

Every config has all keys of `DATA` in its section `data`, `RUN` in `train` and
(RealNVP's excepted) `MODEL` in `model`, so that `--config.data.NAME` and the
like change them for a run.
"""

import types
from collections.abc import Callable, Mapping

from ml_collections import config_dict

from cinn_jax.experiment import arguments

# See `data.sources.open_source`.
DATA = {
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

MODEL = {
  # What a step keeps for its gradients: store, remat or reversible; see
  # `bijections.Stack`. A run may go on with another.
  "memory": "store",
  # What networks inside the flow compute in: float32 or bfloat16.
  "compute_dtype": "float32",
}

RUN = {
  # Minutes without a step after which a run ends, to be started again.
  "watchdog_minutes": 30.0,
  # Parameters and optimizer spread over the devices, for what is too large for
  # one.
  "fully_sharded": False,
}


def picture_config(
  file: str,
  argument: str,
  *,
  task: Callable[[dict, bool], dict],
  settings: Mapping = types.MappingProxyType({}),
) -> config_dict.ConfigDict:
  """Builds the config of a task on whole pictures.

  Args:
    file: Path of the config file, for error messages.
    argument: What follows the file's colon, such as "caflow,size=64".
    task: `(settings, models_condition) -> dict`, the section `task` without
      `image_size`. `models_condition` is true for CAFLOW and its kind, which
      model their condition too and need it at the target's size.
    settings: Further settings that the argument may name, as in `SETTINGS`.

  Raises:
    ValueError: for an argument that names no model or no setting.
  """
  model, chosen = arguments.parse(
    file, argument, MODELS, {**SETTINGS, **settings}
  )
  config = config_dict.ConfigDict(
    {"data": dict(DATA), "model": dict(MODEL), "train": dict(RUN)}
  )
  config.update(
    recipe(
      model,
      chosen["size"],
      scale=chosen.get("scale", 1),
      condition_net=chosen["condition_net"],
    )
  )
  config.task = {
    "image_size": chosen["size"],
    **task(chosen, model in MODEL_THE_CONDITION),
  }
  return config


def recipe(
  model: str, size, scale: int = 1, condition_net: str = "trained"
) -> dict:
  """The sections `model`, `optimizer`, `train` and `augment` of a model.

  Args:
    model: one of `MODELS`.
    size: of the pictures; up to 32 it is for a laptop.
    scale: how many times smaller the condition is.
    condition_net: one of `SETTINGS`: trained with the flow; "frozen" as it
      starts; or "none", in its place the condition itself.

  Raises:
    ValueError: for a model that has no such variant.
  """
  make, part = MODELS[model]
  sections = make(_small(size), scale)
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
  """CAFLOW's code has these for 64x64; up to 32 pixels they are ours."""
  published = {
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "multistep",
      "schedule_options": {
        "warmup_steps": 500,
        "boundaries": (69_500, 139_500),
        "factor": 0.1,
      },
      "weight_decay": 0.0,
      "clip_norm": 0.0,
    },
    "train": {**_train(small), "batch_size": 8, "ema_decay": 0.0},
    # Whole pictures.
    "augment": {"min_scale": 1.0, "flip": False},
  }
  return {
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
      "condition_weight": 1e-3,
      "condition_channels": 3,
      **latents,
    },
    # All together from the first step; see `training.phases`.
    "pretrain": {"unconditional_steps": 0, "fine_tune_from": -1},
    **(_ours(small) if small else published),
  }


def _srflow(small, scale):
  """SRFlow's code has these: 8 times for faces, 4 times for DIV2K."""
  steps, batch_size = 200_000, 16 if scale == 8 else 12
  large = {
    "optimizer": {
      "learning_rate": 5e-4 if scale == 8 else 2.5e-4,
      "b2": 0.99,
      "schedule": "multistep",
      "schedule_options": {
        "boundaries": tuple(steps * n // 100 for n in (50, 75, 90, 95)),
        "factor": 0.5,
      },
      "weight_decay": 0.0,
      "clip_norm": 0.0,
    },
    "train": {**_train(small), "batch_size": batch_size, "ema_decay": 0.0},
    "augment": {"min_scale": 0.2, "flip": True},
    # The encoder's steps are published; its rate is ours.
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
      # Scales have a floor of exp(-alpha), published as 1e-4.
      "alpha": 1.0 if small else 9.21,
    },
    **(ours if small else large),
  }
  # The encoder stays as it was pretrained for the first half, as meant.
  half = sections["train"]["num_steps"] // 2
  sections["optimizer"]["groups"] = {"condition_net": {"frozen_steps": half}}
  return sections


def _ours(small):
  """How models train for which nothing is published."""
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


def _train(small):
  if small:
    return {
      "num_steps": 1_200,
      "batch_size": 32,
      "seed": 0,
      "ema_decay": 0.99,
      "log_every": 50,
      "eval_every": 400,
      "sheet_every": 400,
    }
  return {
    "num_steps": 200_000,
    "batch_size": 64,
    "seed": 0,
    "ema_decay": 0.999,
    "log_every": 100,
    "eval_every": 5_000,
    "sheet_every": 5_000,
  }


def _small(size):
  side = size if isinstance(size, int) else max(size)
  return side <= 32


# What a config's argument may name first, the default first: the recipe, and
# the part of its parameters that sees the condition alone.
MODELS = {
  "cinn": (_image_cinn, "condition_net"),
  "caflow": (_caflow, "condition_flow"),
  "dual_glow_plus": (_dual_glow_plus, "condition_flow"),
  "dual_glow": (_dual_glow, "condition_flow"),
  "srflow": (_srflow, "condition_net"),
}
# Those that model their condition too: three channels of it, with noise, of the
# pictures' own size.
MODEL_THE_CONDITION = ("caflow", "dual_glow_plus", "dual_glow")
# What every config's argument may set.
SETTINGS = {"size": 32, "condition_net": ("trained", "frozen", "none")}
