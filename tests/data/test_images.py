"""Every kind of picture: converted rightly or refused in one line."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from cinn_jax.data import images
from tests.data import pictures


def distance(a, b):
  assert a.shape == b.shape
  return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_color_comes_back_from_every_format(kind, tmp_path):
  truth = pictures.colors()
  data = pictures.encoded(truth, kind, **pictures.LOSSLESS[kind])
  path = tmp_path / "picture"
  path.write_bytes(data)
  for source in (data, path, str(path)):
    picture = images.decode(source)
    assert picture.dtype == np.uint8 and picture.flags["C_CONTIGUOUS"]
    assert picture.flags["WRITEABLE"]
    assert distance(picture, truth) <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  stored = Image.fromarray(pictures.colors())
  stored.info["exif"] = exif.tobytes()
  truth = np.asarray(ImageOps.exif_transpose(stored))
  data = pictures.oriented(pictures.colors(), orientation, kind)
  picture = images.decode(data)
  assert distance(picture, truth) <= (3 if kind == "JPEG" else 0)
  assert picture.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_pictures(orientation):
  turn = images._UPRIGHT.get(orientation, lambda a: a)
  samples = pictures.deep(3)
  tag = [(274, "H", 1, orientation, True)]
  for planar in ("contig", "separate"):
    stored = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    data = pictures.tiff(
      stored.copy(), photometric="rgb", planarconfig=planar, extratags=tag
    )
    picture = images.decode(data, keep_depth=True)
    np.testing.assert_array_equal(picture, turn(samples))
  grey = pictures.tiff(samples[..., 0], photometric="minisblack", extratags=tag)
  picture = images.decode(grey, keep_depth=True)
  np.testing.assert_array_equal(picture[..., 0], turn(samples[..., 0]))


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
    # Pillow calls these "I".
    pictures.tiff(ramp.astype(np.int32)),
    pictures.tiff(ramp.astype(np.uint32)),
    pictures.tiff(65535 - ramp, photometric="miniswhite"),
    pictures.tiff(65535 - ramp, photometric="miniswhite", compression="zlib"),
  ]
  for data in files:
    wide = images.decode(data, keep_depth=True)
    assert wide.dtype == np.uint16
    np.testing.assert_array_equal(wide, np.stack([ramp] * 3, -1))
    picture = images.decode(data)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 1], np.round(ramp / 257))


def test_eight_bit_white_is_zero():
  grey = pictures.colors()[..., 0]
  data = pictures.tiff(255 - grey, photometric="miniswhite")
  np.testing.assert_array_equal(images.decode(data)[..., 2], grey)


def test_twelve_bit_grey_uses_the_whole_range():
  # Two samples, 0 and 4095, packed into three bytes: a TIFF by hand.
  entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1)]
  entries += [(273, 200), (277, 1), (278, 1), (279, 3)]
  body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
  body += b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
  data = body.ljust(200, b"\0") + bytes([0x00, 0x0F, 0xFF])
  wide = images.decode(data, keep_depth=True)
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
    np.testing.assert_array_equal(images.decode(data, keep_depth=True), truth)
    np.testing.assert_array_equal(images.decode(data), np.round(truth / 257))


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
    assert distance(images.decode(data, keep_depth=True), truth) <= 1
  scaled = np.round(color * (alpha[..., None] / 65535)).astype(np.uint16)
  data = pictures.tiff(
    np.concatenate([scaled, alpha[..., None]], -1),
    photometric="rgb",
    extrasamples=["assocalpha"],
  )
  assert distance(images.decode(data, keep_depth=True), truth) <= 1
  data = pictures.png16(samples[..., [0, 3]])
  truth = over_white(np.stack([samples[..., 0]] * 3, -1), alpha)
  assert distance(images.decode(data, keep_depth=True), truth) <= 1


def test_sixteen_bit_transparent_color_becomes_white():
  samples = pictures.deep(3)
  data = pictures.png16(samples, transparent=samples[2, 3])
  picture = images.decode(data, keep_depth=True)
  assert picture[2, 3].tolist() == [65535] * 3
  np.testing.assert_array_equal(picture[3:], samples[3:])
  data = pictures.png16(samples[..., 0], transparent=[samples[2, 3, 0]])
  assert images.decode(data, keep_depth=True)[2, 3].tolist() == [65535] * 3


def test_cmyk_jpeg_is_not_inverted():
  truth = pictures.colors()
  cmyk = Image.fromarray(truth).convert("CMYK")
  jpeg = pictures.encoded(cmyk, "JPEG", quality=100)
  assert b"Adobe" in jpeg[:200]  # So: stored inverted.
  assert distance(images.decode(jpeg), truth) <= 8
  for kind in ("raw", "tiff_lzw"):
    data = pictures.encoded(cmyk, "TIFF", compression=kind)
    assert distance(images.decode(data), truth) <= 1
  wide = pictures.tiff(
    np.asarray(cmyk).astype(np.uint16) * 257, photometric="separated"
  )
  assert distance(images.decode(wide), truth) <= 1
  assert images.decode(wide, keep_depth=True).dtype == np.uint16


def test_palettes():
  truth = pictures.colors()
  flat = Image.fromarray(truth).quantize(32)
  expected = np.asarray(flat.convert("RGB"))
  for kind in ("PNG", "TIFF"):
    data = pictures.encoded(flat, kind)
    np.testing.assert_array_equal(images.decode(data), expected)
  index = int(np.asarray(flat)[0, 0])
  clear = np.asarray(flat) == index
  faint = bytes(0 if i == index else 255 for i in range(256))
  for transparency in (index, faint):
    data = pictures.encoded(flat, "PNG", transparency=transparency)
    picture = images.decode(data)
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
  picture = images.decode(data)
  np.testing.assert_array_equal(picture[:, 20:], truth[:, 20:])
  assert (picture[:, :10] == 255).all()
  blend = truth[:, 10:20] * (100 / 255) + 155
  assert np.abs(picture[:, 10:20] - blend).max() <= 1


def test_grey_with_alpha_and_bilevel():
  grey = pictures.colors()[..., 0]
  alpha = np.where(np.arange(grey.shape[1]) < 9, 0, 255).astype(np.uint8)
  alpha = np.broadcast_to(alpha, grey.shape)
  picture = images.decode(pictures.encoded(np.dstack([grey, alpha])))
  assert (picture[:, :9] == 255).all()
  np.testing.assert_array_equal(picture[:, 9:, 1], grey[:, 9:])
  bilevel = Image.fromarray(grey > 100)
  assert bilevel.mode == "1"
  for kind in ("PNG", "TIFF"):
    picture = images.decode(pictures.encoded(bilevel, kind))
    np.testing.assert_array_equal(picture[..., 0], (grey > 100) * 255)


def test_color_key_becomes_white():
  truth = pictures.colors()
  key = tuple(int(v) for v in truth[3, 4])
  picture = images.decode(pictures.encoded(truth, transparency=key))
  assert picture[3, 4].tolist() == [255, 255, 255]
  np.testing.assert_array_equal(picture[5:], truth[5:])


def test_lab_tiff():
  truth = pictures.colors()
  lab = ImageCms.profileToProfile(
    Image.fromarray(truth),
    ImageCms.createProfile("sRGB"),
    ImageCms.createProfile("LAB"),
    outputMode="LAB",
  )
  picture = images.decode(pictures.encoded(lab, "TIFF"))
  # Lab at 8 bits is coarse in the darks.
  assert np.abs(picture.astype(int) - truth).mean() < 2.5


def wide_gamut_profile():
  """The same primaries as sRGB at a gamma of 1: plainly another profile."""
  profile = bytearray(
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  )
  linear = b"curv" + bytes(4) + struct.pack(">I", 0)
  count = struct.unpack(">I", profile[128:132])[0]
  for i in range(count):
    name, offset, _ = struct.unpack(
      ">4sII", profile[132 + 12 * i : 144 + 12 * i]
    )
    if name in (b"rTRC", b"gTRC", b"bTRC"):
      profile[offset : offset + 12] = linear
  return bytes(profile).replace("sRGB".encode("utf-16-be"), bytes(8))


def encode_srgb(linear):
  low, high = linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
  return np.where(linear <= 0.0031308, low, high)


def test_color_profiles_are_converted():
  samples = pictures.colors()
  truth = np.round(255 * encode_srgb(samples / 255))
  profile = wide_gamut_profile()
  picture = images.decode(pictures.encoded(samples, icc_profile=profile))
  assert distance(picture, truth) <= 3
  with_alpha = np.dstack([samples, np.full_like(samples[..., 0], 255)])
  picture = images.decode(pictures.encoded(with_alpha, icc_profile=profile))
  assert distance(picture, truth) <= 3
  wide = pictures.tiff(
    samples.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile
  )
  assert distance(images.decode(wide), truth) <= 3
  assert images.decode(wide, keep_depth=True).dtype == np.uint16
  broken = pictures.encoded(samples, icc_profile=profile[:200])
  np.testing.assert_array_equal(images.decode(broken), samples)


def test_grey_profiles_keep_the_depth():
  ramp = np.arange(0, 65536, 61, dtype=np.uint16)[:1072].reshape(8, 134)
  truth = 65535 * encode_srgb(ramp / 65535)
  profile = pictures.linear_grey_profile()
  data = pictures.tiff(ramp, photometric="minisblack", iccprofile=profile)
  wide = images.decode(data, keep_depth=True)[..., 0]
  # The curve is known at 8 bits, and steep in the dark.
  error = np.abs(wide - truth)
  assert error[ramp > 5000].max() < 260 and error.mean() < 120
  assert len(np.unique(wide)) > 700  # 8 bits hold 256.
  eight = np.arange(8, 256, dtype=np.uint8)[None]
  picture = images.decode(pictures.encoded(eight, icc_profile=profile))
  assert (
    distance(picture[..., 0], np.round(255 * encode_srgb(eight / 255))) <= 1
  )


def test_a_reduced_scale_is_only_used_where_allowed():
  photo = Image.fromarray(pictures.colors()).resize((720, 480))
  jpeg = pictures.encoded(photo, "JPEG")
  assert images.decode(jpeg).shape == (480, 720, 3)
  assert images.decode(jpeg, at_least=120).shape == (120, 180, 3)
  assert images.decode(jpeg, at_least=121).shape == (240, 360, 3)
  png = pictures.encoded(photo)
  assert images.decode(png, at_least=120).shape == (480, 720, 3)


def test_the_first_picture_of_several():
  first, second = pictures.colors(), pictures.colors()[::-1]
  more = {"save_all": True, "append_images": [Image.fromarray(second)]}
  for kind in ("PNG", "WEBP", "TIFF"):
    data = pictures.encoded(first, kind, **more, **pictures.LOSSLESS[kind])
    np.testing.assert_array_equal(images.decode(data), first)
  data = pictures.encoded(first, "MPO", quality=95, **more)
  assert distance(images.decode(data), first) < 40


def refusal(source, **options) -> str:
  with pytest.raises(images.UnreadableImage) as caught:
    images.decode(source, **options)
  assert isinstance(caught.value, ValueError)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_truncated_files_are_refused_by_name(kind, tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  data = pictures.encoded(noise, kind, **pictures.LOSSLESS[kind])
  for share in (0.01, 0.5, 0.9):
    path = tmp_path / f"half.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    assert f"half.{kind}: " in refusal(path)


def test_what_is_no_picture_is_refused_by_name(tmp_path):
  assert refusal(b"") == "picture: an empty file"
  assert "not a JPEG, PNG, WebP or TIFF" in refusal(b"hello" * 100)
  assert "not a JPEG" in refusal(pictures.encoded(pictures.colors(), "GIF"))
  missing = tmp_path / "missing.jpg"
  assert refusal(missing) == f"{missing}: No such file or directory"
  assert "Is a directory" in refusal(tmp_path)


def test_samples_of_unknown_range_are_refused():
  ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
  assert "floating-point" in refusal(pictures.tiff(ramp))
  for scale in (200, 2**30):
    data = pictures.tiff((ramp * scale).astype(np.int32))
    assert "range is unknown" in refusal(data)
  signed = (ramp * 30000 - 15000).astype(np.int16)
  assert "range is unknown" in refusal(pictures.tiff(signed))


def test_huge_pictures_are_refused_on_their_header():
  limit = f"{images.MAX_PIXELS // 10**6} megapixels"
  for size in ((30_000, 30_000), (2**31 - 1, 2**31 - 1)):
    assert limit in refusal(pictures.huge_png(*size))
  # 100 megapixels are none: they fail for want of data only.
  assert "truncated" in refusal(pictures.huge_png(12_000, 8_400))


def test_a_hundred_megapixels_decode():
  grey = Image.new("1", (12_000, 8_400), 1)
  image = images.open_header(pictures.encoded(grey))
  assert image.size == (12_000, 8_400)
  image.load()


def test_random_damage_never_escapes():
  generator = np.random.default_rng(0)
  for kind in ("PNG", "WEBP", "TIFF", "JPEG"):
    data = pictures.encoded(pictures.colors(), kind)
    for _ in range(60):
      damaged = bytearray(data)
      for place in generator.integers(0, len(data), 4):
        damaged[place] = generator.integers(256)
      try:
        picture = images.decode(bytes(damaged))
      except images.UnreadableImage as error:
        assert "\n" not in str(error)
      else:
        assert picture.ndim == 3 and picture.shape[2] == 3


CORRUPT_EXIF = """
import sys
from cinn_jax.data import images
picture = images.decode(sys.stdin.buffer.read())
assert picture.shape == (24, 36, 3), picture.shape
"""


def test_broken_metadata_is_no_warning():
  exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + bytes(7)
  data = pictures.encoded(pictures.colors(), "JPEG", exif=exif)
  with pytest.warns(UserWarning):
    Image.open(io.BytesIO(data)).getexif()
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", CORRUPT_EXIF],
    input=data,
    capture_output=True,
  )
  assert done.returncode == 0 and not done.stderr, done.stderr.decode()


def test_plain_pictures_are_recognised():
  truth = pictures.colors()
  plain = images.is_plain
  srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  assert plain(pictures.encoded(truth))
  assert plain(pictures.encoded(truth, "JPEG"))
  assert plain(pictures.encoded(truth[..., 0], "JPEG"))
  assert plain(pictures.encoded(truth, "JPEG", icc_profile=srgb))
  assert plain(pictures.oriented(truth, 1, "JPEG"))
  assert not plain(pictures.oriented(truth, 6, "JPEG"))
  assert not plain(pictures.oriented(truth, 6, "PNG"))
  assert not plain(pictures.encoded(truth, icc_profile=wide_gamut_profile()))
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


def test_decode_plain_is_the_same_picture():
  for data in (
    pictures.encoded(pictures.colors()),
    pictures.encoded(pictures.colors(), "JPEG"),
    pictures.encoded(pictures.colors()[..., 0], "JPEG"),
  ):
    np.testing.assert_array_equal(
      images.decode_plain(data), images.decode(data)
    )
