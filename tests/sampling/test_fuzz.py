"""Random picture files: one line or a result of the right size, no traceback.

Hypothesis varies format, mode, size, orientation, profile, name, and damage:
truncation, overwritten bytes, and appended rubbish.
"""

import functools
import io
import pathlib
import tempfile
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from cinn_jax.images import metadata, reading, writing
from cinn_jax.sampling.inputs import find
from cinn_jax.sampling.photos import Photos
from cinn_jax.workdir.trained import restore
from tests.support import tiny, untrained

# By format: modes that Pillow writes in it, and its ending.
KINDS = {
  "JPEG": (("L", "RGB", "CMYK"), ".jpg"),
  "PNG": (("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ".png"),
  "TIFF": (("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"), ".tif"),
  "WEBP": (("RGB", "RGBA"), ".webp"),
  "BMP": (("1", "L", "P", "RGB"), ".bmp"),
  "GIF": (("L", "P"), ".gif"),
  "PPM": (("1", "L", "RGB"), ".ppm"),
}
NAMES = ("a", "scan[1]", "a b", "é", "x_hole", "-v", "a.b", "'q'")
PROFILES = (None, "sRGB", "LAB", b"no profile")


@functools.cache
def _profile(name):
  if isinstance(name, bytes) or name is None:
    return name
  return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


@st.composite
def files(draw):
  """Yields (name, contents, whether they are damaged)."""
  kind = draw(st.sampled_from(sorted(KINDS)))
  modes, suffix = KINDS[kind]
  mode = draw(st.sampled_from(modes))
  width, height = (draw(st.integers(1, 40)) for _ in range(2))
  seed = draw(st.integers(0, 99))
  pixels = np.random.default_rng(seed).integers(
    0, 256, (height, width, 3), np.uint8
  )
  if mode == "I;16":
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
  else:
    image = Image.fromarray(pixels).convert({"LA": "RGBA"}.get(mode, mode))
    image = image.convert(mode) if mode == "LA" else image
  options = {}
  if kind in ("JPEG", "PNG", "TIFF", "WEBP"):
    if profile := _profile(draw(st.sampled_from(PROFILES))):
      options["icc_profile"] = profile
    if kind != "TIFF":
      exif = Image.Exif()
      exif[0x0112] = draw(st.integers(0, 9))
      options["exif"] = exif
  file = io.BytesIO()
  image.save(file, kind, **options)
  data = file.getvalue()
  damage = draw(st.sampled_from(("none", "none", "cut", "bytes", "more")))
  if damage == "cut":
    data = data[: draw(st.integers(0, len(data)))]
  elif damage == "bytes":
    array = bytearray(data)
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=8)):
      array[place] = draw(st.integers(0, 255))
    data = bytes(array)
  elif damage == "more":
    data += b"rubbish" * 20
  name = draw(st.sampled_from(NAMES)) + draw(
    st.sampled_from((suffix, suffix.upper(), ".png", ""))
  )
  return name, data, damage in ("cut", "bytes")


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run.safetensors"
  untrained.write_file(tiny.photos(), path)
  return Photos(restore(path))


def _check(sampler, name, data, damaged):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / name
    path.write_bytes(data)
    [item] = find([str(path)])
    try:
      # Pillow warns of some damage, which is no reason to stop.
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo = reading.decode(path, keep_depth=True)
        subject = sampler.load(item)
    except reading.UnreadableImage as error:
      assert damaged or "floating-point" in str(error), str(error)
      assert "\n" not in str(error) and str(path) in str(error)
      return
    assert photo.ndim == 3 and photo.shape[2] == 3 and photo.size
    assert photo.dtype in (np.uint8, np.uint16)
    [result] = subject.render(np.zeros((1, 8, 8, 2), np.float32))
    assert result.shape == photo.shape and result.dtype == photo.dtype
    scale = np.iinfo(photo.dtype).max
    light = [rgb2lab(picture / scale)[..., 0] for picture in (photo, result)]
    assert np.abs(light[0] - light[1]).max() < 1.0
    out = pathlib.Path(folder) / "out" / f"r{subject.suffix}"
    writing.save_photo(out, result, subject.metadata)
    assert reading.decode(out, keep_depth=True).shape == photo.shape
    # The original is as it was.
    assert path.read_bytes() == data


_COMMON = {
  "deadline": None,
  "derandomize": True,
  "suppress_health_check": list(HealthCheck),
}


@pytest.mark.slow
@settings(max_examples=50, **_COMMON)
@given(files())
def test_fifty_files(sampler, file):
  _check(sampler, *file)


@pytest.mark.slow
@settings(max_examples=1000, **_COMMON)
@given(files())
def test_a_thousand_files(sampler, file):
  _check(sampler, *file)


def test_the_shapes_that_are_drawn_are_those_of_the_model(sampler, tmp_path):
  path = tmp_path / "a.png"
  Image.new("RGB", (9, 7)).save(path)
  subject = sampler.load(find([str(path)])[0])
  x, _ = subject.draw(jax.random.key(0), jnp.arange(1), jnp.ones(()))
  assert x.shape == (1, 8, 8, 2)
  assert metadata.read(path).lost == ()
