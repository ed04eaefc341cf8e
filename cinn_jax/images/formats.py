"""Picture files: which formats are read, and which page of a file counts."""

import functools
import importlib
import importlib.util
import io
import os
from typing import Any

from PIL import Image

# Endings of files that are looked for in folders.
EXTENSIONS = (
  ".jpg",
  ".jpeg",
  ".jpe",
  ".jfif",
  ".png",
  ".webp",
  ".tif",
  ".tiff",
  ".bmp",
  ".gif",
  ".jp2",
  ".pbm",
  ".pgm",
  ".ppm",
  ".tga",
  ".avif",
  ".heic",
  ".heif",
  ".jxl",
)

# 268 megapixels: well above any camera, 0.8 GB as an array. The header is
# checked against it before anything is decoded.
MAX_PIXELS = 2**28

# Formats that are read, by Pillow's names. Their classes open files, because
# `Image.open` warns above 89 megapixels, and its limit is a setting of the
# whole process. A TGA has no signature: it is tried last, and by its name.
_FORMATS = (
  "JPEG",
  "PNG",
  "TIFF",
  "WEBP",
  "BMP",
  "GIF",
  "JPEG2000",
  "PPM",
  "AVIF",
  "HEIF",
  "JXL",
)
# Formats that need a package, by their signature at byte 0 or 4.
_NEED = (
  (b"ftypheic", "a HEIC file", "pillow-heif"),
  (b"ftypheix", "a HEIC file", "pillow-heif"),
  (b"ftypmif1", "a HEIF file", "pillow-heif"),
  (b"ftypavif", "an AVIF file", "pillow-avif-plugin"),
  (b"\xff\x0a", "a JPEG XL file", "pillow-jxl-plugin"),
  (b"JXL \r\n\x87\n", "a JPEG XL file", "pillow-jxl-plugin"),
)
# Packages that teach Pillow a format when they are imported.
_EXTRAS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
_RAW = (
  ".dng",
  ".cr2",
  ".cr3",
  ".nef",
  ".arw",
  ".orf",
  ".rw2",
  ".raf",
  ".pef",
  ".srw",
  ".raw",
)
_DNG_VERSION, _REDUCED = 50706, 254


def open_header(data: bytes, name: str = "") -> Any:
  """Opens a picture with Pillow, without decoding it.

  Of a TIFF it is the first picture that is not a reduced one.

  Args:
    data: Contents of the file.
    name: Its name, whose ending tells a TGA or a camera's raw file.

  Raises:
    ValueError: if it is of another format, or has more than `MAX_PIXELS`.
  """
  suffix = os.path.splitext(name)[1].lower()
  if suffix in _RAW:
    raise ValueError(f"a camera's raw file ({suffix}): {_EXPORT}")
  image = _opened(data, suffix)
  if image.format == "TIFF":
    _skip_reduced(image)
  width, height = image.size
  if width * height > MAX_PIXELS:
    limit = MAX_PIXELS // 10**6
    raise ValueError(
      f"{width}x{height} is above the limit of {limit} megapixels"
    )
  return image


_EXPORT = "export it as TIFF or JPEG first"


def _opened(data, suffix):
  if not data:
    raise ValueError("an empty file")
  _register_formats()
  for kind in _FORMATS:
    factory, accepts = Image.OPEN.get(kind, (None, None))
    if factory and accepts is not None and accepts(data[:32]) is True:
      return factory(io.BytesIO(data))
  if suffix == ".tga":
    return Image.OPEN["TGA"][0](io.BytesIO(data))
  for signature, words, package in _NEED:
    if signature in data[:12]:
      raise ValueError(f"{words}: pip install {package}, then try again")
  raise ValueError("not a picture of a known format")


@functools.cache
def _register_formats():
  Image.init()
  for kind, package in _EXTRAS.items():
    if importlib.util.find_spec(package):
      module = importlib.import_module(package)
      if kind == "HEIF":
        module.register_heif_opener()


def _skip_reduced(image):
  """Goes to the first page of a TIFF that is a whole picture."""
  if _DNG_VERSION in image.tag_v2:
    raise ValueError(f"a camera's raw file (DNG): {_EXPORT}")
  for number in range(num_pictures(image)):
    image.seek(number)
    if not image.tag_v2.get(_REDUCED, 0) & 1:
      return
  raise ValueError("a TIFF of thumbnails alone")


def num_pictures(image: Image.Image) -> int:
  """Returns the number of pictures in a file."""
  return getattr(image, "n_frames", 1)
