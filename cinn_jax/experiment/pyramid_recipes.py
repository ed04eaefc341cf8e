"""Recipes of pyramids: wavelet flows for colours, and to enlarge pictures."""

from typing import Any


def pyramid() -> dict[str, Any]:
  """Returns the sections of a pyramid for ab at 32x32, given L at 128x128."""
  return {
    "augment": {"min_scale": 0.2, "flip": True},
    "model": {
      "name": "wavelet_flow",
      "size": 32,
      "base_size": 8,
      "channels": 2,
      # The number of cells of one level, to train it alone; 0 for all.
      "level": 0,
      "features": "efficientnet_lite0",
      "base": "autoregressive",
      "base_width": 64,
      "base_depth": 4,
      "base_layers": 2,
      "base_encoder": 2,
      "base_heads": 2,
      "base_alpha": 1.5,
      "hidden": (64, 64),
      "depths": (8, 8),
      "condition_channels": (32, 32),
      "condition_blocks": 2,
      # Wider bounds learn no faster, and some samples explode.
      "alpha": 0.7,
      "clamp": "tanh",
      "mixing": "lu",
      "far": 3.0,
    },
    "task": {
      "name": "colorize",
      "image_size": 128,
      "ab_size": 32,
      "noise": "gaussian",
      "noise_scale": 0.05,
      "detail_noise": (),
      "hints": 0,
      "hint_share": 0.75,
      "given_features": False,
    },
    "optimizer": {
      "learning_rate": 3e-3,
      "schedule": "cosine",
      "schedule_options": {"warmup_steps": 100},
      "b2": 0.95,
      "clip_norm": 1.0,
    },
    "train": {
      "num_steps": 2_000,
      "batch_size": 16,
      "seed": 0,
      "ema_decay": 0.995,
      "log_every": 50,
      "eval_every": 500,
      "sheet_every": 500,
    },
  }


def photographs() -> dict[str, Any]:
  """Returns the sections of a pyramid for ab at 128x128, with hints."""
  sections = pyramid()
  sections["model"] |= {
    "size": 128,
    "base_width": 96,
    "base_heads": 3,
    "hidden": (32, 48, 64, 64),
    "depths": (4, 6, 8, 8),
    "condition_channels": (16, 24, 32, 32),
  }
  sections["task"] |= {
    "ab_size": 128,
    "detail_noise": (0.05, 0.05),
    "hints": 32,
  }
  sections["train"] |= {"ema_decay": 0.999}
  return sections


def enlargement(scale: int, *, small: bool) -> dict[str, Any]:
  """Returns the section `model` of a pyramid whose base is a small picture.

  Args:
    scale: Ratio of the sides, a power of 2.
    small: True for a laptop, False for a GPU. Both sizes are ours.
  """
  levels = scale.bit_length() - 1
  return {
    "name": "wavelet_flow",
    "size": 32,
    "base_size": 8,
    "channels": 3,
    "level": 0,
    "features": "",
    "base": "coupling",
    "base_given": True,
    "base_width": 32 if small else 64,
    "base_depth": 4 if small else 8,
    "hidden": (64 if small else 128,) * levels,
    "depths": (8 if small else 16,) * levels,
    "condition_channels": (32 if small else 64,) * levels,
    "condition_blocks": 2 if small else 4,
    "alpha": 0.7,
    "clamp": "tanh",
    "mixing": "lu",
    "far": 3.0,
    "mean": 0.5,
    "std": 0.25,
  }
