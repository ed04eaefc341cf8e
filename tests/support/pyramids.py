"""A small pyramid: x of 8x8 cells, with a base of 4x4."""

import ml_collections

from configs import colorize

SMALL = {
  "size": 8,
  "base_size": 4,
  "base_width": 4,
  "base_depth": 2,
  "base_layers": 1,
  "base_encoder": 1,
  "base_heads": 2,
  "hidden": (4,),
  "depths": (2,),
  "condition_channels": (3,),
  "condition_blocks": 1,
}


def small_photographs(**model) -> ml_collections.ConfigDict:
  """Returns configs/colorize.py:photographs for 8x8 cells, with hints of 8."""
  config = colorize.get_config("photographs")
  config.model.update({**SMALL, **model})
  config.task.update(
    {"image_size": 32, "ab_size": 8, "detail_noise": (), "hints": 8}
  )
  return config
