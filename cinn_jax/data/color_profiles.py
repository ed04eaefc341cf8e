"""Embedded colour profiles: what the samples of a picture mean, as sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def to_srgb(image: Image.Image) -> Image.Image:
  """An opaque 8-bit picture as RGB in sRGB, by its profile if it has one."""
  if image.mode == "LAB":
    profile = ImageCms.createProfile("LAB")
  else:
    if image.mode not in _SPACES:
      image = image.convert("RGB")
    profile = foreign_profile(image)
  if profile is None:
    return image.convert("RGB")
  return ImageCms.profileToProfile(
    image,
    profile,
    ImageCms.createProfile("sRGB"),
    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    outputMode="RGB",
    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
  )


def foreign_profile(image) -> ImageCms.ImageCmsProfile | None:
  """The embedded profile, where it says something other than sRGB.

  A profile that cannot be parsed, or that belongs to another kind of picture,
  counts as none, as it does in every viewer.
  """
  embedded = image.info.get("icc_profile")
  if not embedded:
    return None
  try:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    description = ImageCms.getProfileDescription(profile)
  except (ImageCms.PyCMSError, OSError):
    return None
  space = _SPACES.get(image.mode, "GRAY" if image.mode[0] == "I" else "")
  if profile.profile.xcolor_space.strip() != space or "sRGB" in description:
    return None
  return profile


def grey_to_srgb(values: np.ndarray, profile) -> np.ndarray:
  """Sends 16-bit grey through a grey profile at 16 bits.

  Args:
    values: uint16 [H, W].
    profile: as `foreign_profile` found it.

  Returns:
    uint16 [H, W].
  """
  ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
  ramp.info["icc_profile"] = profile.tobytes()
  curve = np.asarray(to_srgb(ramp))[0, :, 0]
  levels = np.interp(np.arange(65536) / 257, np.arange(256), curve)
  return np.round(levels * 257).astype(np.uint16)[values]
