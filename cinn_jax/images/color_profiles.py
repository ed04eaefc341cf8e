"""Converts pictures with an embedded colour profile to sRGB."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {
  **dict.fromkeys(("L", "LA"), "GRAY"),
  **dict.fromkeys(("RGB", "RGBA"), "RGB"),
  "CMYK": "CMYK",
}
# A profile that differs from sRGB by at most this many levels counts as sRGB.
_NEAR = 2


def to_srgb(image: Image.Image) -> Image.Image:
  """Converts an opaque 8-bit picture to sRGB, by its profile if it has one."""
  if image.mode == "LAB":
    return _convert(image, ImageCms.createProfile("LAB"))
  if image.mode not in _SPACES:
    image = image.convert("RGB")
  profile = foreign_profile(image)
  return image.convert("RGB") if profile is None else _convert(image, profile)


def _convert(image, profile):
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
  """Returns the embedded profile, or None if it means sRGB.

  A profile that cannot be used, or belongs to another kind of picture, is
  ignored, as in every viewer.

  Args:
    image: The picture.
    mode: Mode of the file, if Pillow opens it in another one.
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
  """Tests a profile by its effect, because names are not reliable.

  Some profiles that are called sRGB are linear or have a wider gamut.
  """
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
  shown = np.asarray(_convert(probe, profile)).astype(int)
  return np.abs(shown - np.asarray(probe.convert("RGB"))).max() <= _NEAR


def grey_to_srgb(
  values: np.ndarray, profile: ImageCms.ImageCmsProfile
) -> np.ndarray:
  """Converts 16-bit grey with a grey profile, at 16 bits.

  Args:
    values: uint16 `[H, W]`.
    profile: Result of `foreign_profile`.

  Returns:
    uint16 `[H, W]`.
  """
  ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
  ramp.info["icc_profile"] = profile.tobytes()
  curve = np.asarray(to_srgb(ramp))[0, :, 0]
  levels = np.interp(np.arange(65536) / 257, np.arange(256), curve)
  return np.round(levels * 257).astype(np.uint16)[values]
