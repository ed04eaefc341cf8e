"""Writes picture files whole or not at all."""

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from cinn_jax.runtime import storage

_SUFFIXES = {
  "uint8": (".png", ".jpg", ".jpeg", ".tif", ".tiff"),
  "uint16": (".tif", ".tiff"),
}


def save_png(path: str | os.PathLike[str], image: Any) -> None:
  """Writes uint8 `[H, W, 3]` as PNG, whole or not at all.

  Missing folders are created.

  Raises:
    ValueError: if `image` is not such a picture.
  """
  picture = Image.fromarray(as_pixels(image, "save_png"))
  storage.write_whole(path, _encoded(picture, "PNG"))


def save_photo(path: str | os.PathLike[str], image: Any) -> None:
  """Writes a photograph `[H, W, 3]`, whole or not at all.

  The suffix chooses the format: .png, .jpg (quality 95, colour at full
  resolution) or .tif for uint8; only .tif for uint16, because Pillow writes no
  16-bit RGB in other formats. Missing folders are created.

  Raises:
    ValueError: for another type of pixels or another suffix.
  """
  place = storage.path(path)
  image = as_pixels(image, "save_photo", tuple(_SUFFIXES))
  suffix, known = place.suffix.lower(), _SUFFIXES[image.dtype.name]
  if suffix not in known:
    raise ValueError(
      f"{place}: {image.dtype} photographs are written as {', '.join(known)}, "
      f"not as {suffix or 'a file without suffix'!r}: change the suffix"
    )
  if suffix in (".tif", ".tiff"):
    data = _encoded_tiff(image)
  elif suffix == ".png":
    data = _encoded(Image.fromarray(image), "PNG")
  else:
    data = _encoded(Image.fromarray(image), "JPEG", quality=95, subsampling=0)
  storage.write_whole(place, data)


def _encoded(image, kind, **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def _encoded_tiff(image):
  import tifffile  # Comes with scikit-image; most runs never need it.

  file = io.BytesIO()
  tifffile.imwrite(file, image, photometric="rgb", compression="zlib")
  return file.getvalue()


def as_pixels(
  image: Any, name: str, dtypes: tuple[str, ...] = ("uint8",)
) -> np.ndarray:
  """Returns `image` as a contiguous array `[H, W, 3]`.

  Args:
    image: The picture.
    name: Name of the picture or its user, for the error message.
    dtypes: Names of the allowed types.

  Raises:
    ValueError: for another shape or type, and for an empty picture.
  """
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name not in dtypes:
    raise ValueError(
      f"{name}: expected {' or '.join(dtypes)} of shape [H, W, 3], got "
      f"{image.dtype} {list(image.shape)}"
    )
  if 0 in image.shape:
    raise ValueError(f"{name}: the picture is empty, {list(image.shape)}")
  return np.ascontiguousarray(image)
