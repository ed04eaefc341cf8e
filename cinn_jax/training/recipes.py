"""What the configs of tasks on whole pictures share: arguments and recipes.

A config's argument is a model and settings, `caflow,size=64,scale=8`: the model
first, or left out, then NAME=VALUE in any order.
"""

from collections.abc import Iterable, Mapping

from cinn_jax.training import defaults


def parse(
  file: str, argument: str, models: Iterable[str], settings: Mapping
) -> tuple[str, dict]:
  """The model and the settings that a config's argument names.

  Args:
    file: the config's name, for messages.
    argument: such as "caflow,size=64"; "" stands for all defaults.
    models: what there is; the first is the default.
    settings: the defaults; a value is of its default's type. Where the default
      is a tuple, it lists what there is, the default first. "size" is a number,
      or HxW for pictures that are not square.

  Raises:
    ValueError: in one line, for what there is not.
  """
  models = tuple(models)
  words = [word.strip() for word in argument.split(",") if word.strip()]
  model = words.pop(0) if words and "=" not in words[0] else models[0]
  if model not in models:
    raise ValueError(
      f"{file} has no model {model!r}; there are {', '.join(models)}."
    )
  chosen = {
    name: value[0] if isinstance(value, tuple) else value
    for name, value in settings.items()
  }
  for word in words:
    name, separator, value = word.partition("=")
    if not separator or name not in settings:
      raise ValueError(
        f"{file} has no setting {word!r}; it takes a model first"
        f" ({', '.join(models)}) and then {_listed(settings)}."
      )
    chosen[name] = _value(file, name, value, settings[name])
  return model, chosen


def _listed(settings):
  def shown(value):
    if isinstance(value, tuple):
      return "|".join(map(str, value))
    return str(value)

  return ", ".join(f"{name}={shown(v)}" for name, v in settings.items())


def _value(file, name, text, default):
  if isinstance(default, tuple):
    by_text = {str(value): value for value in default}
    if text not in by_text:
      raise ValueError(
        f"{file}: {name} is one of {', '.join(by_text)}, got {text!r}."
      )
    return by_text[text]
  try:
    if name == "size" and "x" in text:
      height, width = text.split("x")
      return (int(height), int(width))
    return type(default)(text)
  except ValueError:
    kind = {int: "a whole number", float: "a number"}[type(default)]
    raise ValueError(f"{file}: {name} is {kind}, got {text!r}.") from None


def base() -> dict:
  """The sections in which tasks and models do not differ.

  Pictures are the photographs that the dependencies ship.
  """
  return {
    "data": {
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
    },
    "train": dict(defaults.RUN),
  }


def recipe(model: str, size, scale: int = 1) -> dict:
  """The sections `model`, `optimizer`, `train` and `augment` of a model.

  Args:
    model: one of `MODELS`.
    size: of the pictures; up to 32 it is for a laptop.
    scale: how many times smaller the condition is.
  """
  return MODELS[model](size, scale)


def _image_cinn(size, scale):
  small = _small(size)
  sections = {
    "model": {
      "name": "image_cinn",
      "scale": scale,
      "hidden": (64, 96, 128) if small else (64, 96, 128, 192),
      "depths": (4, 4, 4) if small else (8, 8, 8, 8),
      "condition_channels": (32, 64, 128) if small else (64, 96, 128, 192),
      "condition_convolutions": 2,
      "condition_net": True,
      "alpha": 1.0,
      "clamp": "cinn_paper",
      "mixing": "orthogonal",
      "actnorm": True,
      "injector": False,
      "init_std": None,
      "zero_last": True,
    },
    **_ours(small),
  }
  # How many steps the condition network stays as it starts; -1: all.
  groups = {"condition_net": {"frozen_steps": 0}}
  sections["optimizer"] = {**sections["optimizer"], "groups": groups}
  return sections


def _caflow(size, scale):
  small = _small(size)
  latents = {"latent_depths": (4, 4) if small else (8, 8), "shared": False}
  return _flow_pair(small, "caflow", **latents, **_LATENTS)


def _dual_glow_plus(size, scale):
  small = _small(size)
  depth = 4 if small else 8
  return _flow_pair(small, "dual_glow_plus", latent_depth=depth, **_LATENTS)


def _dual_glow(size, scale):
  relation = {"relation_widths": (), "relation_kernel": 5}
  return _flow_pair(_small(size), "dual_glow", **relation)


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
      "condition_depth": None,
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


# What a config's argument may name first; the first is the default.
MODELS = {
  "cinn": _image_cinn,
  "caflow": _caflow,
  "dual_glow_plus": _dual_glow_plus,
  "dual_glow": _dual_glow,
}
# Those that model their condition too: three channels of it, with noise, of the
# pictures' own size.
MODEL_THE_CONDITION = ("caflow", "dual_glow_plus", "dual_glow")
