"""Decodes picture files for every source of data and for sampling.

A decoded picture is sRGB, upright, fully opaque and has three channels,
whatever the file holds. A file that cannot be converted correctly is refused;
nothing is guessed.
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from cinn_jax.images import color_profiles, deep_color

# Contents of a file, or its path.
Source = bytes | bytearray | memoryview | str | os.PathLike[str]

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
  *("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM"),
  *("AVIF", "HEIF", "JXL"),
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
  *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"),
  *(".srw", ".raw"),
)
_DNG_VERSION, _REDUCED = 50706, 254

# A picture above this is decoded alone, or threads would multiply its memory.
_LARGE_PIXELS = 2**25
_LARGE = threading.Lock()

_UPRIGHT = {
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.swapaxes(0, 1),
  6: lambda a: a[::-1].swapaxes(0, 1),
  7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
  8: lambda a: a[:, ::-1].swapaxes(0, 1),
}

# Some programs write broken metadata into sound pictures. Pillow's warning must
# not become an error in a worker thread if warnings are errors.
warnings.filterwarnings(
  "ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin"
)


class UnreadableImage(ValueError):
  """A picture that cannot be converted correctly: `name: reason`, one line."""

  def __init__(self, name: str, reason: str):
    super().__init__(f"{name}: {reason}")
    self.name = name
    self.reason = reason


def decode(
  source: Source, *, keep_depth: bool = False, at_least: int = 0
) -> np.ndarray:
  """Decodes a picture of any format that Pillow reads safely.

  The EXIF orientation is applied, and transparency composed over white. Colours
  with an embedded profile are converted to sRGB, those of 16 bits at 16 bits.
  CMYK without a profile is converted by the plain subtractive formula. Of an
  animation or a multi-page file, the first picture is used that is not a
  reduced image (a thumbnail).

  Args:
    source: Contents of the file as bytes, or its path.
    keep_depth: Return a picture of more than 8 bits as uint16.
    at_least: Allow a JPEG to be decoded at a reduced scale, as long as its
      short side keeps at least this many pixels. 0 means never.

  Returns:
    uint8 `[H, W, 3]` in [0, 255]; deeper samples are rounded to 8 bits. With
    `keep_depth`, uint16 in [0, 65535] for a picture of more than 8 bits.

  Raises:
    UnreadableImage: if the file is missing, truncated, of another kind, larger
      than `MAX_PIXELS`, or has samples of unknown range (floating point,
      32-bit).
  """
  name, data = contents(source)
  with reasons(name):
    image = open_header(data, name)
    bits = deep_color.bits(image)
    if at_least:
      _reduce(image, at_least)
    with _room_for(image):
      if bits > 8:
        array, turn = deep_color.decode(image, data)
      else:
        array, turn = np.array(_opaque_rgb(image)), orientation(image)
    array = _UPRIGHT.get(turn, lambda a: a)(array)
    if array.dtype == np.uint16 and not keep_depth:
      array = deep_color.narrow(array)
    return np.ascontiguousarray(array)


def decode_alpha(source: Source) -> np.ndarray | None:
  """Decodes which pixels of a picture are opaque.

  Args:
    source: Contents of the file as bytes, or its path.

  Returns:
    bool `[H, W]`, upright, True for an alpha of 128 to 255; None if the whole
    picture is opaque.

  Raises:
    UnreadableImage: as `decode` does.
  """
  name, data = contents(source)
  with reasons(name):
    image = open_header(data, name)
    with _room_for(image):
      image.load()
      if not image.has_transparency_data:
        return None
      alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    alpha = _UPRIGHT.get(orientation(image), lambda a: a)(alpha)
    return None if alpha.min() == 255 else alpha >= 128


def decode_plain(data: bytes, name: str = "picture") -> np.ndarray:
  """Decodes a picture that `is_plain` accepts, without further checks.

  Returns:
    uint8 `[H, W, 3]`, read-only.

  Raises:
    UnreadableImage: if it is damaged.
  """
  with reasons(name):
    return np.asarray(open_header(data, name).convert("RGB"))


def is_plain(data: bytes) -> bool:
  """Tells if a file's samples are the picture, with nothing to convert.

  Such a file is a JPEG or PNG of 8-bit sRGB or grey samples, upright and
  opaque. It is decoded to its end, so a damaged file raises an exception.
  """
  image = open_header(data)
  deep = deep_color.bits(image) > 8
  with _room_for(image):
    image.load()
  return (
    image.format in ("JPEG", "PNG")
    and image.mode in ("RGB", "L")
    and not deep
    and not image.has_transparency_data
    and num_pictures(image) == 1
    and orientation(image) == 1
    and color_profiles.foreign_profile(image) is None
  )


def orientation(image: Image.Image) -> int:
  """Returns the EXIF orientation, 1 to 8, that remains to be applied."""
  value = image.getexif().get(ExifTags.Base.Orientation, 1)
  return value if value in _UPRIGHT else 1


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


def contents(source: Source) -> tuple[str, bytes]:
  """Returns a name for messages, and the contents of a file.

  Raises:
    UnreadableImage: if the file cannot be read.
  """
  if isinstance(source, bytes | bytearray | memoryview):
    return "picture", bytes(source)
  name = os.fsdecode(source).encode(errors="backslashreplace").decode()
  try:
    with open(source, "rb") as file:
      return name, file.read()
  except OSError as error:
    raise UnreadableImage(name, error.strerror or "unreadable") from error


@contextlib.contextmanager
def reasons(name: str) -> Iterator[None]:
  """Turns any exception of a decoder into `UnreadableImage`.

  Decoders raise nearly anything for damaged input (SyntaxError, struct.error,
  KeyError, MemoryError, ...), so all exceptions are caught.
  """
  try:
    yield
  except UnreadableImage:
    raise
  except Exception as error:
    lines = str(error).splitlines() or [type(error).__name__]
    raise UnreadableImage(name, lines[0]) from error


def _reduce(image, at_least):
  if image.format == "JPEG":
    shortest = min(image.size)
    sides = tuple(-(-side * at_least // shortest) for side in image.size)
    image.draft(None, sides)


def _room_for(image):
  large = image.width * image.height > _LARGE_PIXELS
  return _LARGE if large else contextlib.nullcontext()


def _opaque_rgb(image) -> Image.Image:
  """Converts 8-bit samples of any mode to sRGB, over white."""
  image.load()
  if not image.has_transparency_data:
    return color_profiles.to_srgb(image)
  with_alpha = image.convert("RGBA")
  # Grey pictures have grey profiles.
  is_grey = image.mode in ("L", "LA")
  opaque = image.convert("L") if is_grey else with_alpha.convert("RGB")
  canvas = Image.new("RGB", image.size, "white")
  canvas.paste(color_profiles.to_srgb(opaque), mask=with_alpha.getchannel("A"))
  return canvas
