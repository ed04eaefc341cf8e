"""Pictures that a notebook shows if they are the last value of a cell."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from cinn_jax.images import sheets, writing


class Shown:
  """A picture, uint8 `[H, W, 3]`, that shows itself in a notebook.

  It is sent as PNG or JPEG, whichever is smaller.

  >>> import numpy as np
  >>> from cinn_jax.images.notebook import Shown
  >>> Shown(np.zeros((40, 60, 3), np.uint8))
  <picture of 60x40>
  """

  def __init__(self, image: Any):
    self.image = writing.as_pixels(image, "Shown")

  def _repr_mimebundle_(self, include=None, exclude=None):
    files = {
      "image/png": self._encoded("png", optimize=True),
      "image/jpeg": self._encoded("jpeg", quality=85),
    }
    kind = min(files, key=lambda kind: len(files[kind]))
    return {kind: files[kind], "text/plain": repr(self)}

  def _encoded(self, kind, **options):
    file = io.BytesIO()
    Image.fromarray(self.image).save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()

  def __repr__(self):
    height, width = self.image.shape[:2]
    return f"<picture of {width}x{height}>"


def show(
  rows: Any,
  column_titles: Sequence[str] | None = None,
  row_titles: Sequence[str] | None = None,
  cell: int | None = None,
  note: str = "",
) -> Shown:
  """Shows pictures from flows and tasks as a contact sheet in a notebook.

  Args:
    rows: List of rows of pictures, or one array of them. They are uint8, or
      floats, which are clipped to [0, 1]; in colour `[H, W, 3]` or grey
      `[H, W, 1]`.
    column_titles: See `sheets.contact_sheet`.
    row_titles: See `sheets.contact_sheet`.
    cell: See `sheets.contact_sheet`.
    note: See `sheets.contact_sheet`.
  """
  rows = [
    [_as_uint8(image) for image in row] for row in jax.device_get([*rows])
  ]
  return Shown(
    sheets.contact_sheet(
      rows,
      column_titles=column_titles,
      row_titles=row_titles,
      cell=cell,
      note=note,
    )
  )


def _as_uint8(image):
  image = np.asarray(image)
  if np.issubdtype(image.dtype, np.floating):
    image = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
  grey = image.ndim == 3 and image.shape[2] == 1
  return np.repeat(image, 3, axis=2) if grey else image
