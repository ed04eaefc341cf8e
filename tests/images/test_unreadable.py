"""Pictures that cannot be converted correctly raise one-line errors."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cinn_jax.images import formats, reading
from tests.support import pictures


def refusal(source, **options) -> str:
  with pytest.raises(reading.UnreadableImage) as caught:
    reading.decode(source, **options)
  assert isinstance(caught.value, ValueError)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_truncated_files_raise(kind, tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  data = pictures.encoded(noise, kind, **pictures.LOSSLESS[kind])
  for share in (0.01, 0.5, 0.9):
    path = tmp_path / f"half.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    assert f"half.{kind}: " in refusal(path)


def test_other_files_raise(tmp_path):
  assert refusal(b"") == "picture: an empty file"
  assert "not a picture of a known format" in refusal(b"hello" * 100)

  missing = tmp_path / "missing.jpg"
  assert refusal(missing) == f"{missing}: No such file or directory"
  assert "Is a directory" in refusal(tmp_path)


def test_samples_of_unknown_range_raise():
  ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
  assert "floating-point" in refusal(pictures.tiff(ramp))
  for scale in (200, 2**30):
    data = pictures.tiff((ramp * scale).astype(np.int32))
    assert "range is unknown" in refusal(data)
  signed = (ramp * 30000 - 15000).astype(np.int16)
  assert "range is unknown" in refusal(pictures.tiff(signed))


def test_huge_pictures_raise_before_decoding():
  limit = f"{formats.MAX_PIXELS // 10**6} megapixels"
  for size in ((30_000, 30_000), (2**31 - 1, 2**31 - 1)):
    assert limit in refusal(pictures.huge_png(*size))
  # 100 megapixels are allowed; this file only lacks the data.
  assert "truncated" in refusal(pictures.huge_png(12_000, 8_400))


def test_a_hundred_megapixels_decode():
  grey = Image.new("1", (12_000, 8_400), 1)
  image = formats.open_header(pictures.encoded(grey))
  assert image.size == (12_000, 8_400)
  image.load()


def test_random_damage_raises_only_our_error():
  generator = np.random.default_rng(0)
  for kind in ("PNG", "WEBP", "TIFF", "JPEG"):
    data = pictures.encoded(pictures.colors(), kind)
    for _ in range(60):
      damaged = bytearray(data)
      for place in generator.integers(0, len(data), 4):
        damaged[place] = generator.integers(256)
      try:
        picture = reading.decode(bytes(damaged))
      except reading.UnreadableImage as error:
        assert "\n" not in str(error)
      else:
        assert picture.ndim == 3 and picture.shape[2] == 3


CORRUPT_EXIF = """
import sys
from cinn_jax.images import reading
picture = reading.decode(sys.stdin.buffer.read())
assert picture.shape == (24, 36, 3), picture.shape
"""


def test_broken_metadata_gives_no_warning():
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
