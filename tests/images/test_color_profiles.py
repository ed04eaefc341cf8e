"""Conversion of embedded colour profiles to sRGB."""

import numpy as np
from PIL import Image, ImageCms

from cinn_jax.images import reading
from tests.support import pictures


def test_lab_tiff():
  truth = pictures.colors()
  lab = ImageCms.profileToProfile(
    Image.fromarray(truth),
    ImageCms.createProfile("sRGB"),
    ImageCms.createProfile("LAB"),
    outputMode="LAB",
  )
  picture = reading.decode(pictures.encoded(lab, "TIFF"))
  # Lab at 8 bits is coarse in dark colours.
  assert np.abs(picture.astype(int) - truth).mean() < 2.5


def encode_srgb(linear):
  low, high = linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
  return np.where(linear <= 0.0031308, low, high)


def test_color_profiles_are_converted():
  samples = pictures.colors()
  truth = np.round(255 * encode_srgb(samples / 255))
  profile = pictures.wide_gamut_profile()
  picture = reading.decode(pictures.encoded(samples, icc_profile=profile))
  assert pictures.distance(picture, truth) <= 3
  with_alpha = np.dstack([samples, np.full_like(samples[..., 0], 255)])
  picture = reading.decode(pictures.encoded(with_alpha, icc_profile=profile))
  assert pictures.distance(picture, truth) <= 3
  wide = pictures.tiff(
    samples.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile
  )
  assert pictures.distance(reading.decode(wide), truth) <= 3
  assert reading.decode(wide, keep_depth=True).dtype == np.uint16
  deep_with_alpha = pictures.tiff(
    with_alpha.astype(np.uint16) * 257,
    photometric="rgb",
    extrasamples=["unassalpha"],
    iccprofile=profile,
  )
  assert pictures.distance(reading.decode(deep_with_alpha), truth) <= 3
  # The name of the profile does not matter.
  named = pictures.wide_gamut_profile(called="sRGB")
  picture = reading.decode(pictures.encoded(samples, icc_profile=named))
  assert pictures.distance(picture, truth) <= 3
  broken = pictures.encoded(samples, icc_profile=profile[:200])
  np.testing.assert_array_equal(reading.decode(broken), samples)


def test_grey_profiles_keep_the_depth():
  ramp = np.arange(0, 65536, 61, dtype=np.uint16)[:1072].reshape(8, 134)
  truth = 65535 * encode_srgb(ramp / 65535)
  profile = pictures.linear_grey_profile()
  data = pictures.tiff(ramp, photometric="minisblack", iccprofile=profile)
  wide = reading.decode(data, keep_depth=True)[..., 0]
  # The curve is known at 8 bits, and steep in the dark.
  error = np.abs(wide - truth)
  assert error[ramp > 5000].max() < 260 and error.mean() < 120
  assert len(np.unique(wide)) > 700  # 8 bits hold 256.
  eight = np.arange(8, 256, dtype=np.uint8)[None]
  picture = reading.decode(pictures.encoded(eight, icc_profile=profile))
  truth = np.round(255 * encode_srgb(eight / 255))
  assert pictures.distance(picture[..., 0], truth) <= 1
  with_alpha = np.dstack([eight, np.full_like(eight, 255)])
  picture = reading.decode(pictures.encoded(with_alpha, icc_profile=profile))
  assert pictures.distance(picture[..., 0], truth) <= 1
  deep = pictures.png16(with_alpha.astype(np.uint16) * 257, None, profile)
  assert pictures.distance(reading.decode(deep)[..., 0], truth) <= 1
