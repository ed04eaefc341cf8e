"""Sections on training that the recipes of several models share."""

from typing import Any

Section = dict[str, Any]


def is_small(size: int | tuple[int, int]) -> bool:
  """Tells if a recipe for pictures of this size is for a laptop."""
  return (size if isinstance(size, int) else max(size)) <= 32


def ours(small: bool) -> dict[str, Section]:
  """Returns our training sections, for models without published ones."""
  return {
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "schedule_options": {"warmup_steps": 100},
      "weight_decay": 1e-5,
      "clip_norm": 10.0,
    },
    "train": train(small),
    "augment": {"min_scale": 0.2, "flip": True},
  }


def published(*, batch_size: int, **optimizer: Any) -> dict[str, Section]:
  """Returns what the code of CAFLOW, SRFlow and HCFlow shares on training."""
  return {
    "optimizer": {
      "schedule": "multistep",
      "weight_decay": 0.0,
      "clip_norm": 0.0,
      **optimizer,
    },
    "train": {**train(False), "batch_size": batch_size, "ema_decay": 0.0},
  }


def train(small: bool) -> Section:
  """Returns the section `train` of a laptop's run, or of a long one."""
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
