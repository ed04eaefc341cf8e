"""Metadata and formats: what goes in comes out, or is named as lost."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from cinn_jax.images import metadata, reading, writing
from tests.support import pictures

Base = ExifTags.Base
PHOTO = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def _exif():
  exif = Image.Exif()
  exif[Base.ImageDescription] = "a quay"
  exif[Base.Artist] = "A. Name"
  exif[Base.Orientation] = 6
  exif.get_ifd(ExifTags.IFD.Exif)[Base.ExposureTime] = 0.25
  exif.get_ifd(ExifTags.IFD.Exif)[Base.ExifImageWidth] = 999
  exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
  return exif


def _jpeg(**options):
  file = io.BytesIO()
  Image.fromarray(PHOTO).save(file, "JPEG", **options)
  return file.getvalue()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_and_dpi_are_carried_over(tmp_path, suffix):
  kept = metadata.read(_jpeg(exif=_exif(), dpi=(600, 300)))
  path = tmp_path / f"a{suffix}"
  writing.save_photo(path, PHOTO, kept)
  with Image.open(path) as image:
    exif = image.getexif()
    assert exif[Base.ImageDescription] == "a quay"
    assert exif[Base.Orientation] == 1
    directory = exif.get_ifd(ExifTags.IFD.Exif)
    assert directory[Base.ExposureTime] == 0.25
    assert directory[Base.ColorSpace] == 1
    assert Base.ExifImageWidth not in directory
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
    if suffix != ".webp":
      assert image.info["dpi"] == pytest.approx((600, 300), abs=0.5)
    assert image.info["icc_profile"] == metadata.srgb_profile()
  # The result is what it was, with a profile that means sRGB.
  if suffix == ".png":
    np.testing.assert_array_equal(reading.decode(path), PHOTO)


def test_deep_tiff_keeps_description_and_dpi(tmp_path):
  kept = metadata.read(_jpeg(exif=_exif(), dpi=(600, 600)))
  path = tmp_path / "a.tif"
  deep = PHOTO.astype(np.uint16) * 257
  writing.save_photo(path, deep, kept)
  with tifffile.TiffFile(path) as file:
    tags = file.pages[0].tags
    assert tags["ImageDescription"].value == "a quay"
    assert tags["Artist"].value == "A. Name"
    assert tags["XResolution"].value == (600, 1)
    assert tags["ResolutionUnit"].value == tifffile.RESUNIT.INCH
    assert tags["InterColorProfile"].value == metadata.srgb_profile()
  np.testing.assert_array_equal(reading.decode(path, keep_depth=True), deep)


def test_a_tiff_without_metadata_has_no_description(tmp_path):
  writing.save_photo(tmp_path / "a.tif", PHOTO)
  with tifffile.TiffFile(tmp_path / "a.tif") as file:
    assert "ImageDescription" not in file.pages[0].tags


def test_pixel_tags_of_a_tiff_are_not_metadata():
  exif = Image.Exif()
  exif.load(metadata.read(pictures.tiff(PHOTO)).exif)
  assert not {Base.ImageWidth, Base.StripOffsets} & set(exif)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_left_out():
  data = _jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
  assert reading.decode(data).shape == PHOTO.shape
  assert metadata.read(data).exif == b""


def test_transparency_and_further_pictures_are_named_as_lost():
  file = io.BytesIO()
  layer = Image.fromarray(np.full((4, 4, 4), 99, np.uint8))
  layer.save(file, "PNG")
  assert "transparency" in metadata.read(file.getvalue()).lost[0]
  file = io.BytesIO()
  frames = [Image.new("RGB", (4, 4), (90 * k, 0, 0)) for k in range(3)]
  frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
  [lost] = metadata.read(file.getvalue()).lost
  assert "3 pictures" in lost


@pytest.mark.parametrize(
  ("kind", "mode"),
  [
    ("BMP", "RGB"),
    ("GIF", "P"),
    ("JPEG2000", "RGB"),
    ("PPM", "L"),
    ("PPM", "RGB"),
    ("WEBP", "RGB"),
  ],
)
def test_formats_that_pillow_reads(kind, mode):
  file = io.BytesIO()
  image = Image.fromarray(PHOTO).convert(mode)
  options = {"lossless": True} if kind == "WEBP" else {}
  image.save(file, kind, **options)
  np.testing.assert_array_equal(
    reading.decode(file.getvalue()), np.asarray(image.convert("RGB"))
  )


def test_tga_is_read_by_its_name(tmp_path):
  Image.fromarray(PHOTO).save(tmp_path / "a.tga")
  np.testing.assert_array_equal(reading.decode(tmp_path / "a.tga"), PHOTO)
  with pytest.raises(reading.UnreadableImage, match="not a picture"):
    reading.decode((tmp_path / "a.tga").read_bytes())


def test_deep_pgm_keeps_its_depth():
  grey = np.arange(120, dtype=np.uint16).reshape(12, 10)  # Dark, of 65535.
  data = b"P5 10 12 65535\n" + grey.astype(">u2").tobytes()
  shown = reading.decode(data, keep_depth=True)
  assert shown.dtype == np.uint16
  np.testing.assert_array_equal(shown[..., 0], grey)


@pytest.mark.parametrize(
  ("data", "name", "words"),
  [
    (b"\0\0\0\x18ftypheic" + bytes(20), "a.heic", "pip install pillow-heif"),
    (b"\xff\x0a" + bytes(30), "a.jxl", "pip install pillow-jxl-plugin"),
    (b"II*\0" + bytes(30), "a.NEF", r"a camera's raw file \(\.nef\)"),
    (b"", "a.png", "an empty file"),
    (b"hello" * 9, "a.png", "not a picture of a known format"),
  ],
)
def test_other_formats_are_named(tmp_path, data, name, words):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(reading.UnreadableImage, match=words):
    reading.decode(tmp_path / name)


def _pages(*pages):
  file = io.BytesIO()
  with tifffile.TiffWriter(file) as writer:
    for picture, reduced, extra in pages:
      writer.write(
        picture,
        photometric="rgb",
        subfiletype=int(reduced),
        metadata=None,
        extratags=extra,
      )
  return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_thumbnail_is_not_taken_for_the_photograph(dtype):
  scale = np.iinfo(dtype).max // 255
  whole = PHOTO.astype(dtype) * dtype(scale)
  data = _pages((whole[:5, :6], True, []), (whole, False, []))
  shown = reading.decode(data, keep_depth=True)
  np.testing.assert_array_equal(shown, whole)


def test_raw_files_and_thumbnails_alone_are_refused():
  dng = _pages((PHOTO, True, [(50706, 1, 4, (1, 4, 0, 0), True)]))
  with pytest.raises(reading.UnreadableImage, match=r"raw file \(DNG\)"):
    reading.decode(dng)
  with pytest.raises(reading.UnreadableImage, match="thumbnails alone"):
    reading.decode(_pages((PHOTO, True, [])))


def _encode_srgb(linear):
  return np.where(
    linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
  )


GREY = imagecodecs.cms_profile(
  "gray", whitepoint=[0.3457, 0.3585, 1.0], gamma=1.0
)


def test_grey_profiles_have_their_true_curve():
  """A gamma of 1: level 1 of 255 is 12.7 of sRGB, not 6."""
  levels = np.arange(256, dtype=np.uint8)[None]
  file = io.BytesIO()
  Image.fromarray(levels).save(file, "PNG", icc_profile=GREY)
  want = 255 * _encode_srgb(levels[0] / 255)
  got = reading.decode(file.getvalue())[0, :, 0]
  assert np.abs(got - want).max() <= 1
  deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
  file = io.BytesIO()
  tifffile.imwrite(file, deep, photometric="minisblack", iccprofile=GREY)
  got = reading.decode(file.getvalue(), keep_depth=True)[..., 0]
  want = 65535 * _encode_srgb(deep / 65535)
  assert np.abs(got - want).max() <= 40  # Of 65,535: less than 0.2 of 255.
  assert len(np.unique(got)) > 40_000


def test_deep_colour_with_a_profile_keeps_its_levels():
  linear = imagecodecs.cms_profile(
    "rgb",
    whitepoint=[0.3127, 0.3290, 1.0],
    primaries=[0.64, 0.33, 1.0, 0.30, 0.60, 1.0, 0.15, 0.06, 1.0],
    gamma=1.0,
  )
  ramp = np.linspace(0, 65535, 50_000).astype(np.uint16).reshape(200, 250)
  deep = np.repeat(ramp[..., None], 3, -1)
  file = io.BytesIO()
  tifffile.imwrite(file, deep, photometric="rgb", iccprofile=linear)
  got = reading.decode(file.getvalue(), keep_depth=True)
  assert len(np.unique(got)) > 20_000
  want = 65535 * _encode_srgb(deep / 65535)
  assert np.abs(got - want).max() < 200


def test_the_profile_of_results_means_srgb():
  profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.srgb_profile()))
  assert "sRGB" in ImageCms.getProfileDescription(profile)
  assert metadata.srgb_profile()[24:28] == b"\x07\xd0\0\x01"


def test_text_that_is_not_ascii_is_kept_byte_for_byte(tmp_path):
  text = "© 2020 Jürgen".encode()
  exif = _exif()
  exif[Base.Copyright] = text
  kept = metadata.read(_jpeg(exif=exif))
  for suffix in (".jpg", ".png", ".tif"):
    path = tmp_path / f"a{suffix}"
    writing.save_photo(path, PHOTO, kept)
    with Image.open(path) as image:
      # Pillow reads each byte as a letter of Latin-1.
      assert image.getexif()[Base.Copyright].encode("latin-1") == text


def test_what_formats_cannot_keep_is_named():
  kept = metadata.read(_jpeg(exif=_exif(), comment=b"by hand", xmp=b"<x/>"))
  assert kept.lost == ("XMP", "the comment")
  assert writing.not_kept(".png", kept) == []
  assert writing.not_kept(".tif", kept) == ["EXIF of exposure, times and place"]
  texts = metadata.Metadata(dpi=(300, 300), texts=(("Author", "A. Name"),))
  assert writing.not_kept(".webp", texts) == ["Author", "the resolution"]
  assert writing.not_kept(".jpg", texts) == ["Author"]
  plain = metadata.read(_jpeg())
  assert plain.lost == () and writing.not_kept(".tif", plain) == []


def test_a_jpeg_is_written_without_exif_that_is_too_long(tmp_path):
  exif = _exif()
  exif[Base.ImageDescription] = "a" * 70_000
  long = metadata.Metadata(exif=exif.tobytes())
  assert "65,533 bytes" in writing.not_kept(".jpg", long)[0]
  writing.save_photo(tmp_path / "a.jpg", PHOTO, long)
  with Image.open(tmp_path / "a.jpg") as image:
    assert not image.getexif()


def test_iptc_and_other_texts_are_named_as_lost():
  caption = b"\x1c\x02\x78\x00\x06a quay"
  block = (
    b"8BIM\x04\x04\0\0" + len(caption).to_bytes(4, "big") + caption + b"\0"
  )
  part = b"Photoshop 3.0\0" + block
  segment = b"\xff\xed" + (len(part) + 2).to_bytes(2, "big") + part
  plain = _jpeg()
  assert metadata.read(plain[:2] + segment + plain[2:]).lost == ("IPTC",)
  assert metadata.read(plain).lost == ()
  file = io.BytesIO()
  tifffile.imwrite(
    file,
    PHOTO,
    photometric="rgb",
    metadata=None,
    extratags=[(33723, 7, len(caption), caption, True)],
  )
  assert metadata.read(file.getvalue()).lost == ("IPTC",)
  file, texts = io.BytesIO(), PngImagePlugin.PngInfo()
  for key in ("Title", "Creation Time", "parameters"):
    texts.add_text(key, "a quay")
  Image.fromarray(PHOTO).save(file, "PNG", pnginfo=texts)
  kept = metadata.read(file.getvalue())
  assert kept.lost == ("the text 'Creation Time'", "the text 'parameters'")
  assert kept.texts == (("Title", "a quay"),)


def test_a_tiff_keeps_the_title_of_windows(tmp_path):
  title = "a quay ü".encode("utf-16-le") + b"\0\0"
  exif = _exif()
  exif[Base.XPTitle] = title
  kept = metadata.read(_jpeg(exif=exif))
  path = tmp_path / "a.tif"
  writing.save_photo(path, PHOTO.astype(np.uint16) * 257, kept)
  with Image.open(path) as image:
    assert bytes(image.tag_v2[Base.XPTitle]) == title
    assert image.tag_v2[Base.ImageDescription] == "a quay"
