"""The models of `pair_comparison.py`, of equal size and with one recipe."""

import math
import pathlib
import runpy
from typing import Any

import jax
from ml_collections import ConfigDict

from cinn_jax.experiment.build import abstract_variables
from cinn_jax.flow import Flow, split_variables
from cinn_jax.tasks import Task

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
SIZE = 64
# Pictures from which ActNorms start.
INIT_BATCH_SIZE = 256
# Every model has this many parameters, give or take a twentieth.
PARAMETERS, _TOLERANCE = 6_000_000, 0.05
# Pair flows are wider, see `_settings`, if their condition has one channel and
# not three.
_PAIR = {"levels": 3, "depth": 6, "hidden": 48, "far": 3.0}
_CAFLOW = {**_PAIR, "latent_depths": (4, 4)}
_DUAL_GLOW_PLUS = {**_PAIR, "latent_depth": 4}
_CINN = {
  "hidden": (64, 96, 168),
  "depths": (4, 4, 4),
  "condition_channels": (32, 64, 128),
}
_SRFLOW = {
  "levels": 3,
  "depth": 8,
  "hidden": 64,
  "blocks": 4,
  "taps": (0, 2),
  "encoder_width": 32,
  "encoder_growth": 16,
}
# The whole section, since no config has this model. Published widths are 256
# and 128.
_CONDITIONAL_GLOW = {
  "name": "conditional_glow",
  "levels": 3,
  "depth": 8,
  "hidden": 128,
  "head": 48,
}
MODELS = ("cinn", "conditional_glow", "srflow", "dual_glow_plus", "caflow")
# By task: the folder of the pictures, and the models.
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
  "colorize_rgb": ("rooms", tuple(m for m in MODELS if m != "srflow")),
  "super_resolution": ("rooms", MODELS),
  "inpaint": ("rooms", tuple(m for m in MODELS if m != "srflow")),
  "sketch": ("clothes", ("caflow",)),
}
# Share of the steps in which the rate grows, and in which SRFlow's encoder is
# fixed. Its steps of pretraining, as a share of those of the flow.
_WARMUP, _FIXED, _PRETRAINING = 0.1, 0.5, 0.5
_ENCODER_RATE = 1e-3
# That of our own recipes.
_CLIP_NORM = 10.0


def make_config(
  task: str, model: str, *, steps: int, batch_size: int
) -> ConfigDict:
  """Returns the config of a model, as in `configs/` for 64x64, but smaller.

  The recipe is the config's: its rate, eps and weight decay. All else is equal
  for all models: pictures are whole and not mirrored, ActNorms start from 256
  of them, the rate grows for a tenth of the steps and falls to 0 along a
  cosine, gradients are clipped, and no average of parameters is kept.

  Departures for pair flows: the published recipe does not clip, and has far=0.
  CAFLOW then had a gradient of 1.6e7, which stays in Adam's second moments:
  4.44 bits/dim in training after 1,000 steps of colorization, not 3.32.
  """
  base = "cinn" if model == "conditional_glow" else model
  config = _read(task)(f"{base},size={SIZE}")
  if model == "conditional_glow":
    memory = {k: config.model[k] for k in ("memory", "compute_dtype")}
    config.model = {**_CONDITIONAL_GLOW, **memory}
  else:
    config.model.update(_settings(task, model))
    if task == "colorize_rgb":
      # Three equal channels would leave most of the condition's flow empty.
      config.task.condition_channels = 1
  config.optimizer.clip_norm = _CLIP_NORM
  config.optimizer.schedule = "cosine"
  warmup = round(_WARMUP * steps)
  config.optimizer.schedule_options = {"warmup_steps": warmup}
  config.train.update(
    {
      "num_steps": steps,
      "batch_size": batch_size,
      "init_batch_size": INIT_BATCH_SIZE,
      "ema_decay": 0.0,
    }
  )
  config.augment = {"min_scale": 1.0, "flip": False}
  if model == "srflow":
    fixed = round(_FIXED * steps)
    config.optimizer.groups = {"condition_net": {"frozen_steps": fixed}}
    config.pretrain = {
      "steps": round(_PRETRAINING * steps),
      "batch_size": batch_size,
      "learning_rate": _ENCODER_RATE,
    }
  return config


def _read(task):
  return runpy.run_path(str(CONFIGS / f"{task}.py"))["get_config"]


def _settings(task, model) -> dict[str, Any]:
  grey = task == "colorize_rgb"
  given = {"condition_channels": 1 if grey else 3}
  return {
    "cinn": _CINN,
    "srflow": _SRFLOW,
    "caflow": {**_CAFLOW, **given, "latent_hidden": 45 if grey else 33},
    "dual_glow_plus": {
      **_DUAL_GLOW_PLUS,
      **given,
      "latent_hidden": 123 if grey else 92,
    },
  }[model]


def count_parameters(flow: Flow, task: Task) -> int:
  """Returns the number of trained parameters.

  Raises:
    ValueError: if it is not the number that all models of the comparison have.
  """
  params, _ = split_variables(abstract_variables(flow, task))
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  if abs(count / PARAMETERS - 1) > _TOLERANCE:
    raise ValueError(
      f"This model has {count:,} parameters, expected {PARAMETERS:,} within"
      f" {_TOLERANCE:.0%}: change its widths in pair_models.py."
    )
  return count
