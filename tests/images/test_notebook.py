"""Pictures in notebooks."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cinn_jax.images import notebook, sheets


def _as_displayed(shown):
  """Returns the MIME type and the pixels that a notebook gets."""
  bundle = shown._repr_mimebundle_()
  assert bundle.pop("text/plain") == repr(shown)
  ((kind, data),) = bundle.items()
  with Image.open(io.BytesIO(base64.b64decode(data))) as image:
    assert image.get_format_mimetype() == kind
    return kind, np.asarray(image.convert("RGB"))


def test_the_smaller_of_png_and_jpeg_is_shown():
  flat = np.full((40, 60, 3), (200, 0, 0), np.uint8)
  kind, pixels = _as_displayed(notebook.Shown(flat))
  assert kind == "image/png"
  np.testing.assert_array_equal(pixels, flat)
  waves = np.sin(np.arange(64)[:, None] / 9 + np.arange(80)[None] / 7)
  busy = np.random.default_rng(0).integers(0, 40, (64, 80, 3))
  busy = (busy + 90 * (1 + waves[..., None])).astype(np.uint8)
  kind, pixels = _as_displayed(notebook.Shown(busy))
  assert kind == "image/jpeg"
  assert np.abs(pixels.astype(int) - busy).mean() < 16


def test_show_takes_floats_and_grey_pictures():
  grey = np.full((2, 3, 16, 16, 1), 0.4, np.float32)
  grey[0, 1], grey[1, 2] = -1.0, 2.0
  shown = notebook.show(grey, ["a", "b", "c"], cell=16)
  as_uint8 = np.full((2, 3, 16, 16, 3), 102, np.uint8)
  as_uint8[0, 1], as_uint8[1, 2] = 0, 255
  expected = sheets.contact_sheet(list(as_uint8), ["a", "b", "c"], cell=16)
  np.testing.assert_array_equal(shown.image, expected)
  again = notebook.show(list(as_uint8), ["a", "b", "c"], cell=16)
  np.testing.assert_array_equal(again.image, expected)
  with pytest.raises(ValueError, match=r"row 0, column 0: expected uint8"):
    notebook.show(np.zeros((1, 1, 16, 16, 2), np.float32))
