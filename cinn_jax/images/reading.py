"""Picture files to arrays: the one decoder of every source and of sampling.

A decoded picture is sRGB, upright, fully opaque and three-channel, whatever the
file held. What cannot be converted rightly is refused, never guessed at.
"""

import contextlib
import io
import os
import threading
import warnings

import numpy as np
from PIL import (
  ExifTags,
  Image,
  JpegImagePlugin,
  PngImagePlugin,
  TiffImagePlugin,
  WebPImagePlugin,
)

from cinn_jax.images import color_profiles, deep_color

EXTENSIONS = (
  *(".jpg", ".jpeg", ".jpe", ".jfif"),
  *(".png", ".webp", ".tif", ".tiff"),
)

# 268 megapixels: well above any camera, 0.8 GB as an array. It is checked on
# the header, before anything is decoded.
MAX_PIXELS = 2**28

# Opened through their classes because `Image.open` warns from 89 megapixels on
# and its limit is a setting of the whole process.
_PLUGINS = {
  "JPEG": JpegImagePlugin.JpegImageFile,
  "PNG": PngImagePlugin.PngImageFile,
  "TIFF": TiffImagePlugin.TiffImageFile,
  "WEBP": WebPImagePlugin.WebPImageFile,
}

# Above this a picture is decoded alone: threads must not multiply its memory.
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

# Careless writers leave broken metadata in sound pictures. It is no news, and
# it must not become an error in a worker thread where warnings are errors.
warnings.filterwarnings(
  "ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin"
)


class UnreadableImage(ValueError):
  """A picture that cannot be converted rightly: `name: reason`, one line."""

  def __init__(self, name: str, reason: str):
    super().__init__(f"{name}: {reason}")
    self.name = name
    self.reason = reason


def decode(source, *, keep_depth: bool = False, at_least: int = 0):
  """Decodes a JPEG, PNG, WebP or TIFF picture.

  EXIF orientation is applied. Transparency is composed over white. An embedded
  colour profile is converted to sRGB (a 16-bit colour picture then keeps only 8
  bits); CMYK without a profile goes through the plain subtractive formula. Of
  an animation or a multi-page file the first picture counts.

  Args:
    source: the file's contents as bytes, or its path.
    keep_depth: return a picture of more than 8 bits as uint16.
    at_least: allow a JPEG to be decoded at a reduced scale, as long as its
      short side stays at least so many pixels. 0: never.

  Returns:
    uint8 [H, W, 3] in [0, 255]; with keep_depth, uint16 in [0, 65535] for a
    picture of more than 8 bits. 16 bits become 8 by rounding.

  Raises:
    UnreadableImage: missing, truncated, of another kind, above `MAX_PIXELS`, or
      with samples whose range is unknown (floating point, 32-bit).
  """
  name, data = contents(source)
  with reasons(name):
    image = open_header(data)
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


def decode_alpha(source) -> np.ndarray | None:
  """Decodes which pixels of a picture are opaque: bool [H, W], upright.

  None if all of them are. Half transparent counts as opaque from 128 of 255.

  Args:
    source: the file's contents as bytes, or its path.

  Raises:
    UnreadableImage: as `decode` does.
  """
  name, data = contents(source)
  with reasons(name):
    image = open_header(data)
    with _room_for(image):
      image.load()
      if not image.has_transparency_data:
        return None
      alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    alpha = _UPRIGHT.get(orientation(image), lambda a: a)(alpha)
    return None if alpha.min() == 255 else alpha >= 128


def decode_plain(data: bytes, name: str = "picture") -> np.ndarray:
  """Decodes what `is_plain` accepts, without looking for anything else.

  Returns:
    uint8 [H, W, 3]; read-only.
  """
  with reasons(name):
    return np.asarray(open_header(data).convert("RGB"))


def is_plain(data: bytes) -> bool:
  """Whether a file's bare samples are the picture, with nothing to convert.

  That is a JPEG or PNG of 8-bit sRGB or grey samples, upright and opaque. It is
  decoded to the end, so a damaged file raises.
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
    and getattr(image, "n_frames", 1) == 1
    and orientation(image) == 1
    and color_profiles.foreign_profile(image) is None
  )


def orientation(image) -> int:
  """EXIF orientation, 1 to 8; after loading, what is still to be done."""
  value = image.getexif().get(ExifTags.Base.Orientation, 1)
  return value if value in _UPRIGHT else 1


def open_header(data: bytes):
  """Opens a picture without decoding it; ValueError if it is not for us."""
  for kind, plugin in _PLUGINS.items():
    if Image.OPEN[kind][1](data[:16]) is True:
      image = plugin(io.BytesIO(data))
      break
  else:
    found = "an empty file" if not data else "not a JPEG, PNG, WebP or TIFF"
    raise ValueError(found)
  width, height = image.size
  if width * height > MAX_PIXELS:
    limit = MAX_PIXELS // 10**6
    raise ValueError(
      f"{width}x{height} is above the limit of {limit} megapixels"
    )
  return image


def contents(source) -> tuple[str, bytes]:
  """A name for messages and the bytes of a path, or of bytes themselves."""
  if isinstance(source, bytes | bytearray | memoryview):
    return "picture", bytes(source)
  name = os.fsdecode(source).encode(errors="backslashreplace").decode()
  try:
    with open(source, "rb") as file:
      return name, file.read()
  except OSError as error:
    raise UnreadableImage(name, error.strerror or "unreadable") from error


@contextlib.contextmanager
def reasons(name: str):
  """Turns whatever a decoder raises into one line about this picture.

  Decoders raise nearly anything on damaged input (SyntaxError, struct.error,
  KeyError, MemoryError, ...), so nothing narrower would keep the promise.
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
  """8-bit samples of any mode as RGB, in sRGB, over white."""
  image.load()
  if not image.has_transparency_data:
    return color_profiles.to_srgb(image)
  with_alpha = image.convert("RGBA")
  # Grey has a grey profile.
  is_grey = image.mode in ("L", "LA")
  opaque = image.convert("L") if is_grey else with_alpha.convert("RGB")
  canvas = Image.new("RGB", image.size, "white")
  canvas.paste(color_profiles.to_srgb(opaque), mask=with_alpha.getchannel("A"))
  return canvas
