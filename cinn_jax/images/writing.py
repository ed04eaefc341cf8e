"""Picture files that are whole or not there."""

import io

import numpy as np
from PIL import Image

from cinn_jax.runtime import storage

_SUFFIXES = {
  "uint8": (".png", ".jpg", ".jpeg", ".tif", ".tiff"),
  "uint16": (".tif", ".tiff"),
}


def save_png(path, image):
  """Writes uint8 `[H, W, 3]` as PNG, with its folders, whole or not at all."""
  image = Image.fromarray(checked(image, "save_png"))
  _write_whole(path, lambda file: image.save(file, "PNG"))


def save_photo(path, image):
  """Writes a photograph `[H, W, 3]` in the format that the suffix names.

  uint8 as .png, .jpg (quality 95, colour at full resolution) or .tif; uint16
  as .tif alone, because Pillow writes no 16-bit RGB in other formats. Folders
  are made; the file is there whole or not at all.

  Raises:
    ValueError: for another type of pixels or another suffix.
  """
  path = storage.path(path)
  image = checked(image, "save_photo", tuple(_SUFFIXES))
  suffix, known = path.suffix.lower(), _SUFFIXES[image.dtype.name]
  if suffix not in known:
    raise ValueError(
      f"{path}: {image.dtype} photographs are written as {', '.join(known)}, "
      f"not as {suffix or 'a file without suffix'!r}: change the suffix"
    )
  if suffix in (".tif", ".tiff"):
    _write_whole(path, lambda file: _write_tiff(file, image))
  elif suffix == ".png":
    save_png(path, image)
  else:
    options = {"quality": 95, "subsampling": 0}
    image = Image.fromarray(image)
    _write_whole(path, lambda file: image.save(file, "JPEG", **options))


def _write_tiff(file, image):
  import tifffile  # Comes with scikit-image; most runs never need it.

  tifffile.imwrite(file, image, photometric="rgb", compression="zlib")


def _write_whole(path, write):
  file = io.BytesIO()
  write(file)
  storage.write_whole(path, file.getvalue())


def checked(image, where, dtypes=("uint8",)):
  """`image` as a contiguous array, or a ValueError that names `where`."""
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name not in dtypes:
    raise ValueError(
      f"{where}: expected {' or '.join(dtypes)} of shape [H, W, 3], got "
      f"{image.dtype} {list(image.shape)}"
    )
  if 0 in image.shape:
    raise ValueError(f"{where}: the picture is empty, {list(image.shape)}")
  return np.ascontiguousarray(image)
