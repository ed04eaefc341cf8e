"""Tests of stored records: unchanged, lossless, or scaled down."""

import io

import numpy as np
import pytest
from PIL import Image

from cinn_jax.data.folder import preparation
from cinn_jax.images import reading
from tests.support import pictures


def test_small_pictures_are_stored_without_loss():
  truth = pictures.colors()
  turned = pictures.oriented(truth, 6, "PNG")
  for data in (
    turned,
    pictures.encoded(truth, "WEBP"),
    pictures.png16(pictures.deep(3)),
    pictures.encoded(Image.fromarray(truth).convert("CMYK"), "JPEG"),
    pictures.encoded(np.dstack([truth, truth[..., :1]])),
  ):
    record = preparation.encode_record(data, "name", 512)
    assert record != data and Image.open(io.BytesIO(record)).format == "PNG"
    assert reading.is_plain(record)
    np.testing.assert_array_equal(
      reading.decode_plain(record), reading.decode(data)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_large_pictures_are_scaled_down(kind):
  photo = Image.fromarray(pictures.colors()).resize((900, 600))
  exif = Image.Exif()
  exif[0x0112] = 6
  data = pictures.encoded(photo, kind, exif=exif.tobytes())
  record = preparation.encode_record(data, "name", 64)
  image = Image.open(io.BytesIO(record))
  assert image.format == "JPEG" and image.size == (64, 96)
  assert all(
    horizontal == vertical == 1 for _, horizontal, vertical, _ in image.layer
  )
  reference = pictures.encoded(Image.new("RGB", (8, 8)), "JPEG", quality=95)
  assert image.quantization == Image.open(io.BytesIO(reference)).quantization
  truth = photo.resize((96, 64), Image.Resampling.LANCZOS).rotate(
    -90, expand=True
  )
  error = np.abs(np.asarray(image).astype(int) - np.asarray(truth))
  assert error.max() <= 6 and reading.is_plain(record)
  # Only the short side matters.
  assert preparation.encode_record(data, "name", 600) != record
  untouched = pictures.encoded(photo, compress_level=1)
  assert preparation.encode_record(untouched, "name", 600) == untouched
  assert preparation.encode_record(untouched, "name", 599) != untouched


def test_scaling_down_keeps_details():
  blocks = Image.fromarray(pictures.colors()).resize((900, 600), 0)
  truth = np.asarray(blocks.resize((300, 200), Image.Resampling.LANCZOS))
  for kind in ("PNG", "JPEG"):
    data = pictures.encoded(blocks, kind, **pictures.LOSSLESS[kind])
    record = reading.decode_plain(preparation.encode_record(data, "name", 200))
    assert np.abs(record.astype(int) - truth).max() <= 12


def test_a_picture_that_is_too_long_is_unreadable():
  """It is skipped and listed, and does not stop the folder."""
  long = pictures.encoded(np.zeros((8, 80_000, 3), np.uint8), "PNG")
  with pytest.raises(reading.UnreadableImage, match="name"):
    preparation.encode_record(long, "name", 7)


def test_pictures_of_the_largest_size_lose_nothing():
  data = pictures.encoded(pictures.colors(), "WEBP", lossless=True)
  record = preparation.encode_record(data, "name", 24)
  np.testing.assert_array_equal(reading.decode_plain(record), pictures.colors())
