"""Pictures in notebooks: the last value of a cell is what it shows."""

import base64
import io

import jax
import numpy as np
from PIL import Image

from cinn_jax.images import sheets, writing


class Shown:
  """A picture uint8 `[H, W, 3]` that a notebook shows, as the last value of a
  cell: as PNG or JPEG, whichever is smaller.

  >>> import numpy as np
  >>> from cinn_jax.images.notebook import Shown
  >>> Shown(np.zeros((40, 60, 3), np.uint8))
  <picture of 60x40>
  """

  def __init__(self, image):
    self.image = writing.as_pixels(image, "Shown")

  def _repr_mimebundle_(self, include=None, exclude=None):
    image, made = Image.fromarray(self.image), {}
    for kind, options in (
      ("png", {"optimize": True}),
      ("jpeg", {"quality": 85}),
    ):
      file = io.BytesIO()
      image.save(file, kind, **options)
      made[f"image/{kind}"] = base64.b64encode(file.getvalue()).decode()
    kind = min(made, key=lambda kind: len(made[kind]))
    return {kind: made[kind], "text/plain": repr(self)}

  def __repr__(self):
    height, width = self.image.shape[:2]
    return f"<picture of {width}x{height}>"


def show(rows, column_titles=None, row_titles=None, cell=None, note=""):
  """What flows and tasks make as a contact sheet in a notebook: `Shown`.

  Args:
    rows: list of rows of pictures, or one array of them: uint8, or floats in
      [0, 1], which are clipped; coloured `[H, W, 3]` or grey `[H, W, 1]`.
    column_titles, row_titles, cell, note: see `pictures.contact_sheet`.
  """
  rows = [
    [_as_uint8(image) for image in row] for row in jax.device_get([*rows])
  ]
  return Shown(
    sheets.contact_sheet(rows, column_titles, row_titles, cell, note)
  )


def _as_uint8(image):
  image = np.asarray(image)
  if np.issubdtype(image.dtype, np.floating):
    image = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
  grey = image.ndim == 3 and image.shape[2] == 1
  return np.repeat(image, 3, axis=2) if grey else image
