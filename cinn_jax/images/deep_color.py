"""Decodes pictures of more than 8 bits per sample at their full depth.

Pillow has no 16-bit colour mode and keeps the high byte of each sample. The low
byte comes from a second pass, which reads the samples in the other byte order.
"""

import io
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, TiffImagePlugin

from cinn_jax.images import color_profiles

_PEAK = 65535
_NATIVE = "L" if np.little_endian else "B"
_OTHER = {"L": "B", "B": "L"}
_GREY_WITH_ALPHA = "LA;16B"  # Pillow opens it as RGBA.


def bits(image: Any) -> int:
  """Returns the bits per sample of a picture that is open but not loaded."""
  if image.mode == "F" or image.mode.startswith("I"):
    return 16
  if image.format == "TIFF":
    return _stored_bits(image)
  return 16 if image.format == "PNG" and ";16" in _raw_mode(image) else 8


def _stored_bits(image):
  if image.format == "TIFF":
    return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
  return 16


def narrow(samples: np.ndarray) -> np.ndarray:
  """Converts uint16 in [0, 65535] to uint8 in [0, 255], rounded."""
  return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def decode(image: Any, data: bytes) -> tuple[np.ndarray, int]:
  """Decodes a picture of more than 8 bits per sample.

  Args:
    image: Picture opened from `data` by Pillow, but not loaded.
    data: Contents of the file.

  Returns:
    uint16 `[H, W, 3]` in sRGB over white, and the EXIF orientation that remains
    to be applied.

  Raises:
    ValueError: for samples of unknown range or meaning.
  """
  if image.mode == "F":
    raise ValueError("floating-point samples, whose range is unknown")
  is_grey_with_alpha = _raw_mode(image) == _GREY_WITH_ALPHA
  profile = color_profiles.foreign_profile(
    image, "LA" if is_grey_with_alpha else ""
  )
  if image.mode.startswith("I"):
    return _grey(image, profile), _turn(image)
  if _tag(image, TiffImagePlugin.PLANAR_CONFIGURATION) == 2:
    samples, turn = _planar(data, image.tell())
  elif image.mode == "CMYK":
    eight_bits = np.asarray(color_profiles.to_srgb(image))
    return eight_bits.astype(np.uint16) * 257, _turn(image)
  else:
    samples, turn = _color(image, data)
  if profile is not None and is_grey_with_alpha:
    grey = color_profiles.deep_to_srgb(samples[..., 0], profile)
    samples = np.repeat(grey[..., None], 3, axis=-1)
  elif profile is not None:
    samples = color_profiles.deep_to_srgb(samples, profile)
  return samples, turn


def _grey(image, profile):
  depth, transparent = _stored_bits(image), image.info.get("transparency")
  grey = np.asarray(image)
  # Pillow scales the samples of a PGM to 16 bits.
  known = image.format == "PPM" or 255 < grey.max() <= _PEAK
  if image.mode == "I" and not (known and grey.min() >= 0):
    raise ValueError("integer samples whose range is unknown")
  grey = grey.astype(np.uint16)
  if depth == 12:
    grey = np.round(grey * (_PEAK / 4095)).astype(np.uint16)
  if _tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
    grey = _PEAK - grey  # White is zero; Pillow inverts only 8 bits.
  shown = grey
  if profile is not None:
    shown = color_profiles.deep_to_srgb(grey, profile)
  if transparent is not None:
    shown = np.where(grey == transparent, np.uint16(_PEAK), shown)
  return np.repeat(shown[..., None], 3, axis=-1)


def _color(image, data):
  raw_mode = _raw_mode(image)
  if raw_mode == _GREY_WITH_ALPHA:
    # A pixel is four bytes: grey, then alpha, each high byte first. Read as
    # RGBA, they are four samples.
    again, pairs = _pass(image, data, "RGBA")
    grey, alpha = (pairs[..., :1] << 8) + pairs[..., 1:2], pairs[..., 2:]
    samples = np.repeat(grey, 3, axis=-1)
    alpha = (alpha[..., :1] << 8) + alpha[..., 1:]
    return _over_white(samples, alpha, premultiplied=False), _turn(again)
  if ";16" not in raw_mode:
    raise ValueError(f"{bits(image)}-bit samples in layout {raw_mode}")
  layout, order = raw_mode.split(";16")
  order = _NATIVE if order == "N" else order
  plain = layout.replace("RGBa", "RGBA")
  again, high = _pass(image, data, f"{plain};16{order}")
  _, low = _pass(image, data, f"{plain};16{_OTHER[order]}")
  samples = (high << 8) + low
  color, alpha = samples[..., :3], samples[..., 3:]
  if alpha.size:
    color = _over_white(color, alpha, premultiplied=layout == "RGBa")
  elif (key := image.info.get("transparency")) is not None:
    color[(color == key).all(-1)] = _PEAK
  return color, _turn(again)


def _pass(image, data, raw_mode):
  """Decodes the file again, with its bytes interpreted as `raw_mode`."""
  again = type(image)(io.BytesIO(data))
  again.seek(image.tell())
  for i, tile in enumerate(again.tile):
    args = raw_mode
    if not isinstance(tile.args, str):
      args = (raw_mode, *tile.args[1:])
    again.tile[i] = tile._replace(args=args)
  return again, np.asarray(again).astype(np.uint16)


def _planar(data, number):
  """Decodes separate colour planes, which Pillow garbles at 16 bits."""
  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page = file.pages[number]
    if page.photometric != tifffile.PHOTOMETRIC.RGB or page.dtype != np.uint16:
      raise ValueError("planes of another kind than 16-bit RGB")
    samples = np.moveaxis(page.asarray(), 0, -1)
    tag = page.tags.get("Orientation")
    turn = tag.value if tag else 1
    extra = page.extrasamples
  color, alpha = samples[..., :3], samples[..., 3:4]
  if extra and extra[0] != tifffile.EXTRASAMPLE.UNSPECIFIED:
    premultiplied = extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA
    color = _over_white(color, alpha, premultiplied)
  return color, turn


def _over_white(color, alpha, premultiplied):
  color, alpha = color.astype(np.uint64), alpha.astype(np.uint64)
  light = color * (_PEAK if premultiplied else alpha)
  total = light + _PEAK * (_PEAK - alpha) + _PEAK // 2
  return np.minimum(total // _PEAK, _PEAK).astype(np.uint16)


def _raw_mode(image) -> str:
  args = image.tile[0].args if image.tile else ""
  return args if isinstance(args, str) else str(args[0])


def _tag(image, number):
  return image.tag_v2.get(number) if image.format == "TIFF" else None


def _turn(image) -> int:
  return image.getexif().get(ExifTags.Base.Orientation, 1)
