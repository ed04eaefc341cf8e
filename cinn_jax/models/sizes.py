"""Which image sizes a multi-scale flow takes."""


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


def _as_text(size):
  return "x".join(map(str, size))
