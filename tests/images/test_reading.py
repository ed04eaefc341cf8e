"""Decoding of every kind of picture to upright, opaque 8-bit RGB."""

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from cinn_jax.images import reading
from tests.support import pictures


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_round_trip_in_every_format(kind, tmp_path):
  truth = pictures.colors()
  data = pictures.encoded(truth, kind, **pictures.LOSSLESS[kind])
  path = tmp_path / "picture"
  path.write_bytes(data)
  for source in (data, path, str(path)):
    picture = reading.decode(source)
    assert picture.dtype == np.uint8 and picture.flags["C_CONTIGUOUS"]
    assert picture.flags["WRITEABLE"]
    assert pictures.distance(picture, truth) <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  stored = Image.fromarray(pictures.colors())
  stored.info["exif"] = exif.tobytes()
  truth = np.asarray(ImageOps.exif_transpose(stored))
  data = pictures.oriented(pictures.colors(), orientation, kind)
  picture = reading.decode(data)
  assert pictures.distance(picture, truth) <= (3 if kind == "JPEG" else 0)
  assert picture.flags["C_CONTIGUOUS"]


def test_cmyk_jpeg_is_not_inverted():
  truth = pictures.colors()
  cmyk = Image.fromarray(truth).convert("CMYK")
  jpeg = pictures.encoded(cmyk, "JPEG", quality=100)
  assert b"Adobe" in jpeg[:200]  # Adobe stores it inverted.
  assert pictures.distance(reading.decode(jpeg), truth) <= 8
  for kind in ("raw", "tiff_lzw"):
    data = pictures.encoded(cmyk, "TIFF", compression=kind)
    assert pictures.distance(reading.decode(data), truth) <= 1
  wide = pictures.tiff(
    np.asarray(cmyk).astype(np.uint16) * 257, photometric="separated"
  )
  assert pictures.distance(reading.decode(wide), truth) <= 1
  assert reading.decode(wide, keep_depth=True).dtype == np.uint16


def test_palettes():
  truth = pictures.colors()
  flat = Image.fromarray(truth).quantize(32)
  expected = np.asarray(flat.convert("RGB"))
  for kind in ("PNG", "TIFF"):
    data = pictures.encoded(flat, kind)
    np.testing.assert_array_equal(reading.decode(data), expected)
  index = int(np.asarray(flat)[0, 0])
  clear = np.asarray(flat) == index
  faint = bytes(0 if i == index else 255 for i in range(256))
  for transparency in (index, faint):
    data = pictures.encoded(flat, "PNG", transparency=transparency)
    picture = reading.decode(data)
    np.testing.assert_array_equal(picture[~clear], expected[~clear])
    assert (picture[clear] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composed_over_white(kind):
  truth = pictures.colors()
  alpha = np.full(truth.shape[:2], 255, np.uint8)
  alpha[:, :10], alpha[:, 10:20] = 0, 100
  data = pictures.encoded(
    np.dstack([truth, alpha]), kind, **pictures.LOSSLESS[kind]
  )
  picture = reading.decode(data)
  np.testing.assert_array_equal(picture[:, 20:], truth[:, 20:])
  assert (picture[:, :10] == 255).all()
  blend = truth[:, 10:20] * (100 / 255) + 155
  assert np.abs(picture[:, 10:20] - blend).max() <= 1


def test_grey_with_alpha_and_bilevel():
  grey = pictures.colors()[..., 0]
  alpha = np.where(np.arange(grey.shape[1]) < 9, 0, 255).astype(np.uint8)
  alpha = np.broadcast_to(alpha, grey.shape)
  picture = reading.decode(pictures.encoded(np.dstack([grey, alpha])))
  assert (picture[:, :9] == 255).all()
  np.testing.assert_array_equal(picture[:, 9:, 1], grey[:, 9:])
  bilevel = Image.fromarray(grey > 100)
  assert bilevel.mode == "1"
  for kind in ("PNG", "TIFF"):
    picture = reading.decode(pictures.encoded(bilevel, kind))
    np.testing.assert_array_equal(picture[..., 0], (grey > 100) * 255)


def test_color_key_becomes_white():
  truth = pictures.colors()
  key = tuple(int(v) for v in truth[3, 4])
  picture = reading.decode(pictures.encoded(truth, transparency=key))
  assert picture[3, 4].tolist() == [255, 255, 255]
  np.testing.assert_array_equal(picture[5:], truth[5:])


def test_reduced_scale_only_if_allowed():
  photo = Image.fromarray(pictures.colors()).resize((720, 480))
  jpeg = pictures.encoded(photo, "JPEG")
  assert reading.decode(jpeg).shape == (480, 720, 3)
  assert reading.decode(jpeg, at_least=120).shape == (120, 180, 3)
  assert reading.decode(jpeg, at_least=121).shape == (240, 360, 3)
  png = pictures.encoded(photo)
  assert reading.decode(png, at_least=120).shape == (480, 720, 3)


def test_the_first_picture_of_several():
  first, second = pictures.colors(), pictures.colors()[::-1]
  more = {"save_all": True, "append_images": [Image.fromarray(second)]}
  for kind in ("PNG", "WEBP", "TIFF"):
    data = pictures.encoded(first, kind, **more, **pictures.LOSSLESS[kind])
    np.testing.assert_array_equal(reading.decode(data), first)
  data = pictures.encoded(first, "MPO", quality=95, **more)
  assert pictures.distance(reading.decode(data), first) < 40


def test_is_plain():
  truth = pictures.colors()
  plain = reading.is_plain
  srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  assert plain(pictures.encoded(truth))
  assert plain(pictures.encoded(truth, "JPEG"))
  assert plain(pictures.encoded(truth[..., 0], "JPEG"))
  assert plain(pictures.encoded(truth, "JPEG", icc_profile=srgb))
  assert plain(pictures.oriented(truth, 1, "JPEG"))
  assert not plain(pictures.oriented(truth, 6, "JPEG"))
  assert not plain(pictures.oriented(truth, 6, "PNG"))
  assert not plain(
    pictures.encoded(truth, icc_profile=pictures.wide_gamut_profile())
  )
  assert not plain(pictures.encoded(truth, "TIFF"))
  assert not plain(pictures.png16(pictures.deep(3)))
  assert not plain(
    pictures.encoded(Image.fromarray(truth).convert("CMYK"), "JPEG")
  )
  assert not plain(pictures.encoded(truth, transparency=(1, 2, 3)))
  assert not plain(pictures.encoded(np.dstack([truth, truth[..., :1]])))
  assert not plain(
    pictures.encoded(
      truth, save_all=True, append_images=[Image.fromarray(truth[::-1])]
    )
  )


def test_decode_plain_equals_decode():
  for data in (
    pictures.encoded(pictures.colors()),
    pictures.encoded(pictures.colors(), "JPEG"),
    pictures.encoded(pictures.colors()[..., 0], "JPEG"),
  ):
    np.testing.assert_array_equal(
      reading.decode_plain(data), reading.decode(data)
    )
