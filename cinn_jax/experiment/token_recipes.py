"""Recipes of token flows: TARFlow and Jet, small and as published."""

from typing import Any

NAMES = ("tarflow", "jet")


def model(
  name: str,
  size: int | tuple[int, int],
  *,
  small: bool,
  mean: float,
  std: float,
) -> dict[str, Any]:
  """Returns the section `model` of a token flow, without `recipes.MODEL`.

  Args:
    name: "tarflow", of autoregressive blocks, or "jet", of couplings.
    size: Size of the pictures.
    small: True for a laptop, False for a GPU. Both sizes are ours.
    mean, std: See `models.token_flow`.
  """
  is_tarflow = name == "tarflow"
  if small:
    width, blocks, layers = 64, *((4, 3) if is_tarflow else (12, 1))
  else:
    width, blocks, layers = 384, *((8, 6) if is_tarflow else (32, 2))
  return {
    "name": "token_flow",
    "size": size,
    "kind": "autoregressive" if is_tarflow else "coupling",
    "patch": 4,
    "transform": "dct",
    "width": width,
    "head_width": 32 if small else 64,
    "blocks": blocks,
    "layers": layers,
    # Every n-th coupling splits tokens, not channels; 0 for none.
    "spatial_every": 0,
    "rotation": True,
    # Many couplings share the work, so each needs less.
    "alpha": 2.0 if blocks <= 16 else 1.0,
    "clamp": "tanh",
    "sampler": "scan",
    "conditioned": True,
    "condition_layers": 2 if small else 4,
    "condition_stem": "convolutions",
    "mean": mean,
    "std": std,
    "remat_layers": not small,
  }


def published(name: str) -> dict[str, Any]:
  """Returns the section `model` of the flow published for ImageNet at 64x64."""
  is_tarflow = name == "tarflow"
  section = model(name, 64, small=False, mean=0.5, std=0.5)
  section |= {"transform": "none", "rotation": False, "conditioned": False}
  if is_tarflow:
    # Published: no bound of the log-scales.
    section |= {"patch": 2, "width": 768, "blocks": 8, "layers": 8}
    return section | {"alpha": 3.0}
  section |= {"patch": 4, "width": 512, "blocks": 32, "layers": 2}
  return section | {"clamp": "jet", "alpha": 9.2}


def optimizer(small: bool) -> dict[str, Any]:
  """Returns the section `optimizer`, for a laptop or a GPU."""
  return {
    "learning_rate": 1e-3 if small else 3e-4,
    "schedule": "cosine",
    "schedule_options": {"warmup_steps": 100 if small else 2_000},
    "b2": 0.95,
    "clip_norm": 1.0,
  }
