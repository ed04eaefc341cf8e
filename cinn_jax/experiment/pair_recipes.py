"""Recipes of CAFLOW, Dual-Glow, SRFlow and HCFlow: published, and ours."""

import math
from typing import Any

from ml_collections import config_dict

from cinn_jax.experiment import schedules

Section = dict[str, Any]
# Pictures from which the ActNorms of Glow and of pair flows start: Glow's code.
INIT_BATCH_SIZE = 256


def caflow(small: bool, scale: int) -> dict[str, Section]:
  depths = (4, 4) if small else (8, 8)
  return _flow_pair(
    small, "caflow", latent_depths=depths, shared=False, **_LATENTS
  )


def dual_glow_plus(small: bool, scale: int) -> dict[str, Section]:
  depth = 4 if small else 8
  return _flow_pair(small, "dual_glow_plus", latent_depth=depth, **_LATENTS)


def dual_glow(small: bool, scale: int) -> dict[str, Section]:
  return _flow_pair(small, "dual_glow", relation_widths=(), relation_kernel=5)


_LATENTS = {"latent_hidden": 32, "latent_transitions": 1, "latent_alpha": 2.0}


def _flow_pair(small: bool, name: str, **latents: Any) -> dict[str, Section]:
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
    **schedules.published(
      batch_size=8, learning_rate=1e-3, schedule_options=schedule
    ),
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
      # Networks see numbers beyond 3 compressed, against bursts in training
      # and broken pixels. The published ones do not.
      "far": 3.0 if small else 0.0,
      "logit_alpha": 1e-5,
      "condition_logit_alpha": config_dict.placeholder(float),
      "condition_weight": 1e-3,
      "condition_channels": 3,
      **latents,
    },
    # All parts train together from the first step; see `training.phases`.
    "pretrain": {"unconditional_steps": 0, "fine_tune_from": -1},
    **(schedules.ours(small) if small else published),
  }
  sections["train"]["init_batch_size"] = INIT_BATCH_SIZE
  return sections


def srflow(small: bool, scale: int) -> dict[str, Section]:
  """Returns the recipe of SRFlow's code: scale 8 for faces, else DIV2K's."""
  steps, batch_size = 200_000, 16 if scale == 8 else 12
  boundaries = tuple(steps * n // 100 for n in (50, 75, 90, 95))
  large = {
    **schedules.published(
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
    **schedules.ours(small),
    "pretrain": {"steps": 200, "batch_size": 32, "learning_rate": 2e-3},
  }
  taps: tuple[int, ...]
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


def hcflow(small: bool, scale: int) -> dict[str, Section]:
  """Returns the recipe of HCFlow's code: scale 8 for faces, else DF2K's.

  Departure: ActNorm starts from 256 pictures. The code's starts again from each
  batch of 16 for 100 steps.
  """
  if scale == 1:
    raise ValueError(
      "hcflow is for super-resolution, got pictures of one size."
    )
  faces = scale == 8
  steps = 350_000 if faces else 300_000
  # The code's loss is in bits per pixel, ours in nats per number.
  unit = math.log(2) / 3
  published = {
    **schedules.published(
      batch_size=16,
      learning_rate=2.5e-4,
      b2=0.99,
      eps=1e-8 * unit,
      clip_value=5 * unit,
      clip_norm=100 * unit,
      schedule_options={
        "boundaries": (200_000, 250_000, 280_000, 310_000, 340_000)
        if faces
        else tuple(steps * n // 100 for n in (50, 75, 90, 95)),
        "factor": 0.5,
      },
    ),
    "augment": {"min_scale": 0.2, "flip": True},
  }
  published["train"]["num_steps"] = steps
  depth = 4 if small else 13
  sections = {
    "model": {
      "name": "hcflow",
      "levels": round(math.log2(scale)),
      "depth": depth,
      "detail_depth": depth,
      "hidden": 32 if small else 64,
      "blocks": 2 if small else 5 if faces else 7,
      "encoder_width": 32 if small else 64,
      "encoder_growth": 16 if small else 32,
      "mixing": "full",
      "alpha": 0.5,
      "log_std": -6.0,
    },
    **(schedules.ours(small) if small else published),
  }
  sections["train"]["init_batch_size"] = INIT_BATCH_SIZE
  return sections
