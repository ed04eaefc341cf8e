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
    # Without the second flag, lcms reads the curve of a grey profile off a
    # table too coarse for shadows.
    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
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


def deep_to_srgb(
  samples: np.ndarray, profile: ImageCms.ImageCmsProfile
) -> np.ndarray:
  """Converts 16-bit samples with a profile, at 16 bits.

  Args:
    samples: uint16, grey `[H, W]` or RGB `[H, W, 3]`.
    profile: Result of `foreign_profile`, for that kind of picture.

  Returns:
    uint16 of the same shape, in sRGB.
  """
  import imagecodecs  # Most pictures never need it.

  is_grey = samples.ndim == 2
  converted = imagecodecs.cms_transform(
    np.ascontiguousarray(samples),
    profile.tobytes(),
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    colorspace="gray" if is_grey else "rgb",
    outcolorspace="rgb",
    outdtype="uint16",
    intent=int(ImageCms.Intent.RELATIVE_COLORIMETRIC),
    flags=int(
      ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
    ),
  )
  return np.ascontiguousarray(converted[..., 0] if is_grey else converted)
