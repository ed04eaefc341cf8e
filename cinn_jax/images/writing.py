"""Writes picture files whole or not at all."""

import io
import os
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from cinn_jax.images.metadata import (
  Metadata,
  has_directories,
  srgb_profile,
)
from cinn_jax.runtime import storage

# By type of the pixels: endings of the files that can hold them.
SUFFIXES = {
  "uint8": (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"),
  "uint16": (".tif", ".tiff"),
}
QUALITY = 95
# The longest EXIF block of a JPEG.
_MOST_EXIF = 65_533


def save_png(path: str | os.PathLike[str], image: Any) -> None:
  """Writes uint8 `[H, W, 3]` as PNG, whole or not at all.

  Missing folders are created.

  Raises:
    ValueError: if `image` is not such a picture.
  """
  picture = Image.fromarray(as_pixels(image, "save_png"))
  storage.write_whole(path, _encoded(picture, "PNG"))


def not_kept(suffix: str, metadata: Metadata) -> list[str]:
  """Returns what a file with this ending cannot hold of metadata, in words."""
  lost = []
  if suffix in (".tif", ".tiff") and has_directories(metadata.exif):
    lost.append("EXIF of exposure, times and place")
  if suffix in (".jpg", ".jpeg") and len(metadata.exif) > _MOST_EXIF:
    lost.append(f"EXIF of more than {_MOST_EXIF:,} bytes")
  if suffix != ".png" and metadata.texts:
    lost.append(", ".join(key for key, _ in metadata.texts))
  if suffix == ".webp" and metadata.dpi:
    lost.append("the resolution")
  return lost


def save_photo(
  path: str | os.PathLike[str],
  image: Any,
  metadata: Metadata = Metadata(),  # noqa: B008, it cannot be changed.
  *,
  quality: int = QUALITY,
) -> None:
  """Writes a photograph `[H, W, 3]` with its metadata, whole or not at all.

  The suffix chooses the format: .png, .jpg, .webp or .tif for uint8; only .tif
  for uint16, because Pillow writes no 16-bit RGB in other formats. The sRGB
  profile is embedded. Missing folders are created.

  Args:
    path: Path of the file.
    image: uint8 or uint16 `[H, W, 3]` in sRGB.
    metadata: Written into the file, as far as the format allows: a TIFF takes
      only the description, dates, names and resolution. See `not_kept`.
    quality: Of JPEG and WebP, 1 to 100; colour stays at full resolution.

  Raises:
    ValueError: for another type of pixels or another suffix.
  """
  place = storage.path(path)
  image = as_pixels(image, "save_photo", tuple(SUFFIXES))
  suffix, known = place.suffix.lower(), SUFFIXES[image.dtype.name]
  if suffix not in known:
    raise ValueError(
      f"{place}: {image.dtype} photographs are written as {', '.join(known)}, "
      f"not as {suffix or 'a file without suffix'!r}: change the suffix"
    )
  if suffix in (".tif", ".tiff"):
    data = _encoded_tiff(image, metadata)
  else:
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    kind = {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
    if metadata.exif and (kind != "JPEG" or len(metadata.exif) <= _MOST_EXIF):
      options["exif"] = metadata.exif
    if metadata.dpi:
      options["dpi"] = metadata.dpi
    if suffix == ".png":
      options["pnginfo"] = texts = PngImagePlugin.PngInfo()
      for key, value in metadata.texts:
        texts.add_text(key, value)
    elif suffix == ".webp":
      options |= {"quality": quality, "method": 4}
    else:
      options |= {"quality": quality, "subsampling": 0}
    data = _encoded(Image.fromarray(image), kind, **options)
  storage.write_whole(place, data)


def _encoded(image, kind, **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def _encoded_tiff(image, metadata):
  import tifffile  # Comes with scikit-image; most runs never need it.

  exif = Image.Exif()
  exif.load(metadata.exif)
  texts = dict(exif)
  options: dict[str, Any] = {}
  if metadata.dpi:
    options = {"resolution": metadata.dpi, "resolutionunit": "INCH"}
  file = io.BytesIO()
  tifffile.imwrite(
    file,
    image,
    photometric="rgb",
    compression="zlib",
    iccprofile=srgb_profile(),
    # Otherwise tifffile describes the array's shape.
    metadata=None,
    software=False,
    # Text of two types: 2 is ASCII, and 1 the bytes of Windows' own tags.
    extratags=[
      (tag, 2, None, value.encode("latin-1"), True)
      if isinstance(value, str)
      else (tag, 1, len(value), value, True)
      for tag, value in sorted(texts.items())
      if isinstance(value, str | bytes)
    ],
    **options,
  )
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
