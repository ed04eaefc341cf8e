"""A small pyramid: x of 8x8 cells, with a base of 4x4."""

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
