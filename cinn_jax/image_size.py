"""Sizes of images, as configs and tasks write them."""


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
  """(H, W) of a size: the side of a square, or (H, W) itself."""
  if isinstance(size, int):
    return (size, size)
  height, width = size
  return (height, width)
