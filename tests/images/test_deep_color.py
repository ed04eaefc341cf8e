"""Pictures of more than 8 bits per sample keep their depth."""

import struct

import numpy as np
import pytest

from cinn_jax.images import reading
from tests.support import pictures


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_pictures(orientation):
  samples = pictures.deep(3)
  upright = pictures.upright(samples, orientation)
  tag = [(274, "H", 1, orientation, True)]
  for planar in ("contig", "separate"):
    stored = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    data = pictures.tiff(
      stored.copy(), photometric="rgb", planarconfig=planar, extratags=tag
    )
    picture = reading.decode(data, keep_depth=True)
    np.testing.assert_array_equal(picture, upright)
  grey = pictures.tiff(samples[..., 0], photometric="minisblack", extratags=tag)
  picture = reading.decode(grey, keep_depth=True)
  np.testing.assert_array_equal(picture[..., 0], upright[..., 0])


def test_sixteen_bit_grey_does_not_turn_white():
  ramp = np.linspace(0, 65535, 9 * 14).reshape(9, 14).astype(np.uint16)
  files = [
    pictures.png16(ramp),
    pictures.encoded(ramp, "TIFF", compression="tiff_lzw"),
    *(
      pictures.tiff(ramp, byteorder=order, compression=compression)
      for order in "<>"
      for compression in (None, "zlib")
    ),
    # Their mode in Pillow is "I".
    pictures.tiff(ramp.astype(np.int32)),
    pictures.tiff(ramp.astype(np.uint32)),
    pictures.tiff(65535 - ramp, photometric="miniswhite"),
    pictures.tiff(65535 - ramp, photometric="miniswhite", compression="zlib"),
  ]
  for data in files:
    wide = reading.decode(data, keep_depth=True)
    assert wide.dtype == np.uint16
    np.testing.assert_array_equal(wide, np.stack([ramp] * 3, -1))
    picture = reading.decode(data)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 1], np.round(ramp / 257))


def test_eight_bit_white_is_zero():
  grey = pictures.colors()[..., 0]
  data = pictures.tiff(255 - grey, photometric="miniswhite")
  np.testing.assert_array_equal(reading.decode(data)[..., 2], grey)


def test_twelve_bit_grey_uses_the_whole_range():
  # Two samples, 0 and 4095, packed into three bytes: a TIFF by hand.
  entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1)]
  entries += [(273, 200), (277, 1), (278, 1), (279, 3)]
  body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
  body += b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
  data = body.ljust(200, b"\0") + bytes([0x00, 0x0F, 0xFF])
  wide = reading.decode(data, keep_depth=True)
  assert wide[..., 0].tolist() == [[0, 65535]]


def test_sixteen_bit_color_keeps_its_depth():
  truth = pictures.deep(3)
  files = [pictures.png16(truth)]
  for order in "<>":
    for compression in (None, "zlib"):
      options = {"byteorder": order, "compression": compression}
      planes = np.moveaxis(truth, -1, 0).copy()
      files.append(pictures.tiff(truth, photometric="rgb", **options))
      files.append(
        pictures.tiff(
          planes, photometric="rgb", planarconfig="separate", **options
        )
      )
  padded = np.concatenate([truth, pictures.deep(1, seed=1)], -1)
  unknown = {"photometric": "rgb", "extrasamples": ["unspecified"]}
  files.append(pictures.tiff(padded, **unknown))
  for data in files:
    np.testing.assert_array_equal(reading.decode(data, keep_depth=True), truth)
    np.testing.assert_array_equal(reading.decode(data), np.round(truth / 257))


def over_white(color, alpha):
  alpha = alpha[..., None] / 65535
  return np.round(color * alpha + 65535 * (1 - alpha))


def test_sixteen_bit_transparency_is_composed_over_white():
  samples = pictures.deep(4)
  color, alpha = samples[..., :3], samples[..., 3]
  truth = over_white(color, alpha)
  files = [pictures.png16(samples)]
  for order in "<>":
    options = {"photometric": "rgb", "byteorder": order}
    files.append(pictures.tiff(samples, extrasamples=["unassalpha"], **options))
    files.append(
      pictures.tiff(
        np.moveaxis(samples, -1, 0).copy(),
        planarconfig="separate",
        extrasamples=["unassalpha"],
        **options,
      )
    )
  for data in files:
    assert pictures.distance(reading.decode(data, keep_depth=True), truth) <= 1
  scaled = np.round(color * (alpha[..., None] / 65535)).astype(np.uint16)
  data = pictures.tiff(
    np.concatenate([scaled, alpha[..., None]], -1),
    photometric="rgb",
    extrasamples=["assocalpha"],
  )
  assert pictures.distance(reading.decode(data, keep_depth=True), truth) <= 1
  data = pictures.png16(samples[..., [0, 3]])
  truth = over_white(np.stack([samples[..., 0]] * 3, -1), alpha)
  assert pictures.distance(reading.decode(data, keep_depth=True), truth) <= 1


def test_sixteen_bit_transparent_color_becomes_white():
  samples = pictures.deep(3)
  data = pictures.png16(samples, transparent=samples[2, 3])
  picture = reading.decode(data, keep_depth=True)
  assert picture[2, 3].tolist() == [65535] * 3
  np.testing.assert_array_equal(picture[3:], samples[3:])
  data = pictures.png16(samples[..., 0], transparent=[samples[2, 3, 0]])
  assert reading.decode(data, keep_depth=True)[2, 3].tolist() == [65535] * 3
