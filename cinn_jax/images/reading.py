"""Decodes picture files for every source of data and for sampling.

A decoded picture is sRGB, upright, fully opaque and has three channels,
whatever the file holds. A file that cannot be converted correctly is refused;
nothing is guessed.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

from cinn_jax.images import color_profiles, deep_color
from cinn_jax.images.formats import num_pictures, open_header

# Contents of a file, or its path.
Source = bytes | bytearray | memoryview | str | os.PathLike[str]

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
