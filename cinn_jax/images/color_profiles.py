"""Embedded colour profiles: what the samples of a picture mean, as sRGB."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {
  **dict.fromkeys(("L", "LA"), "GRAY"),
  **dict.fromkeys(("RGB", "RGBA"), "RGB"),
  "CMYK": "CMYK",
}
# Levels of 255 by which a profile may differ from sRGB and still be it.
_NEAR = 2


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
  return _converted(image, profile)


def _converted(image, profile):
  return ImageCms.profileToProfile(
    image,
    profile,
    ImageCms.createProfile("sRGB"),
    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    outputMode="RGB",
    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
  )


def foreign_profile(
  image: Image.Image, mode: str = ""
) -> ImageCms.ImageCmsProfile | None:
  """The embedded profile, where it says something other than sRGB.

  `mode` is what the file holds, where Pillow opens it as something else.

  A profile that cannot be used, or that belongs to another kind of picture,
  counts as none, as it does in every viewer.
  """
  embedded = image.info.get("icc_profile")
  if not embedded:
    return None
  try:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    mode = mode or image.mode
    space = _SPACES.get(mode, "GRAY" if mode[0] == "I" else "")
    if profile.profile.xcolor_space.strip() != space or _is_srgb(embedded):
      return None
  except (ImageCms.PyCMSError, OSError):
    return None
  return profile


@functools.lru_cache(maxsize=64)
def _is_srgb(embedded):
  """By what it does: some that are called sRGB are linear, or wider."""
  profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
  ramp = np.arange(256, dtype=np.uint8)
  if profile.profile.xcolor_space.strip() == "GRAY":
    probe = Image.fromarray(ramp[None])
  elif profile.profile.xcolor_space.strip() == "RGB":
    lattice = np.stack(np.meshgrid(*[ramp[::51]] * 3), -1).reshape(-1, 3)
    greys = np.repeat(ramp[:, None], 3, -1)
    probe = Image.fromarray(np.concatenate([greys, lattice])[None])
  else:
    return False
  shown = np.asarray(_converted(probe, profile)).astype(int)
  return np.abs(shown - np.asarray(probe.convert("RGB"))).max() <= _NEAR


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
