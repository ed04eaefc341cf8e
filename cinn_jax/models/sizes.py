"""Which images a flow takes: their sizes, and pictures as conditions."""


def check_size(shape, multiple: int, owner: str):
  """Raises ValueError unless H and W of `shape` are multiples of `multiple`.

  Args:
    shape: of images, [..., H, W, C].
    multiple: 2 to the number of times that the flow halves them.
    owner: the flow in words, as "CAFLOW with 4 levels".
  """
  size = shape[-3:-1]
  if not any(side % multiple for side in size) and all(size):
    return
  below = [max(side // multiple, 1) * multiple for side in size]
  above = [-(-max(side, 1) // multiple) * multiple for side in size]
  nearest = " or ".join(dict.fromkeys(map(_as_text, (below, above))))
  raise ValueError(
    f"{owner} takes heights and widths that are multiples of {multiple}, got"
    f" {_as_text(size)}: crop or resize the images to {nearest}, or take fewer"
    " levels."
  )


def check_picture(cond, owner: str):
  """Raises ValueError unless `cond` is one array [B, H, W, C].

  `owner` is the flow in words, as "CAFLOW with 4 levels".
  """
  if getattr(cond, "ndim", None) != 4:
    raise ValueError(
      f"{owner} takes a condition image [B, H, W, C], got"
      f" {getattr(cond, 'shape', type(cond).__name__)}."
    )


def _as_text(size):
  return "x".join(map(str, size))
