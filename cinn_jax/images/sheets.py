"""Contact sheets, which are tables of pictures with titles."""

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cinn_jax.images.writing import as_pixels

# Pillow's own font has no letters outside of ASCII.
_FONT = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
_PAPER = (255, 255, 255)
_EMPTY = (238, 238, 238)
_INK = (38, 38, 38)
_GUTTER = 4
_MARGIN = 12
# Smallest and largest side of a cell by default.
_CELL_SIDES = (128, 256)


def contact_sheet(
  rows: Sequence[Any],
  column_titles: Sequence[str] | None = None,
  row_titles: Sequence[str] | None = None,
  cell: int | None = None,
  note: str = "",
) -> np.ndarray:
  """Draws pictures as a table with titles.

  Every picture is scaled to its cell and centred there on light grey; small
  ones are enlarged. A row is as high and a column as wide as its largest
  picture needs, so pictures of one shape fill their cells.

  Args:
    rows: List of rows, each a list of uint8 pictures `[H, W, 3]` of any shape,
      or an array of them. Rows may differ in length.
    column_titles: One string per column, shortened to fit.
    row_titles: One string per row, written to its left, and shortened to the
      width of three pictures.
    cell: Longest side of a picture on the sheet, in pixels. Default: that of
      the largest picture, but at least 128 and at most 256.
    note: Caption under the sheet, broken into lines if needed.

  Returns:
    uint8 `[H, W, 3]`.

  Raises:
    ValueError: for no pictures, for arrays that are not pictures, and for a
      wrong number of titles.
  """
  rows = [
    [as_pixels(image, f"row {i}, column {j}") for j, image in enumerate(row)]
    for i, row in enumerate(rows)
  ]
  columns = max((len(row) for row in rows), default=0)
  if columns == 0:
    raise ValueError("a contact sheet needs at least one picture, got none")
  _check_titles("column_titles", column_titles, columns)
  _check_titles("row_titles", row_titles, len(rows))
  if cell is None:
    largest = max(max(image.shape[:2]) for row in rows for image in row)
    cell = min(max(largest, _CELL_SIDES[0]), _CELL_SIDES[1])
  fitted = [[_fit(image, cell) for image in row] for row in rows]
  return _draw(
    fitted,
    column_titles=column_titles,
    row_titles=row_titles,
    note=note,
    font=_font(cell),
  )


def text(words: str, side: int) -> np.ndarray:
  """Draws dark words in a light square: uint8 `[side, side, 3]`."""
  square = Image.new("RGB", (side, side), _EMPTY)
  font = ImageFont.truetype(_FONT, side / 2)
  middle = (side / 2, side / 2)
  ImageDraw.Draw(square).text(middle, words, _INK, font, anchor="mm")
  return np.asarray(square)


def _check_titles(name, titles, count):
  if titles is not None and len(titles) != count:
    raise ValueError(f"{name}: expected {count} titles, got {len(titles)}")


def _fit(image, cell):
  scale = cell / max(image.shape[:2])
  height, width = (max(1, round(scale * side)) for side in image.shape[:2])
  filter = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
  return Image.fromarray(image).resize((width, height), filter)


def _font(cell):
  return ImageFont.truetype(_FONT, min(max(12, round(cell / 9)), 20))


def _draw(rows, *, column_titles, row_titles, note, font):
  heights = [max((i.height for i in row), default=0) for row in rows]
  widths = [
    max(row[j].width for row in rows if j < len(row))
    for j in range(max(map(len, rows)))
  ]
  line = sum(font.getmetrics()) + _GUTTER
  left = _MARGIN
  if row_titles:
    row_titles = [
      _shorten(title, 3 * max(widths), font) for title in row_titles
    ]
    left += _MARGIN + int(max(map(font.getlength, row_titles)))
  top = _MARGIN + (line if column_titles else 0)
  xs = [left + sum(widths[:j]) + j * _GUTTER for j in range(len(widths))]
  ys = [top + sum(heights[:i]) + i * _GUTTER for i in range(len(heights))]
  right, bottom = xs[-1] + widths[-1], ys[-1] + heights[-1]
  caption = _wrap(note, right - _MARGIN, font)
  room = _MARGIN // 2 + line * len(caption) if caption else 0
  size = (right + _MARGIN, bottom + room + _MARGIN)
  sheet = Image.new("RGB", size, _PAPER)
  draw = ImageDraw.Draw(sheet)
  for images, y, height in zip(rows, ys, heights, strict=True):
    for image, x, width in zip(images, xs, widths, strict=False):
      draw.rectangle((x, y, x + width - 1, y + height - 1), _EMPTY)
      offset = (width - image.width) // 2, (height - image.height) // 2
      sheet.paste(image, (x + offset[0], y + offset[1]))
  for title, x, width in zip(column_titles or (), xs, widths, strict=False):
    middle = (x + width / 2, top - _GUTTER)
    draw.text(middle, _shorten(title, width, font), _INK, font, anchor="md")
  for title, y, height in zip(row_titles or (), ys, heights, strict=False):
    middle = (left - _MARGIN, y + height / 2)
    draw.text(middle, title, _INK, font, anchor="rm")
  for i, words in enumerate(caption):
    corner = (_MARGIN, bottom + _MARGIN // 2 + i * line)
    draw.text(corner, words, _INK, font, anchor="la")
  return np.asarray(sheet)


def _shorten(text, width, font):
  if font.getlength(text) <= width:
    return text
  while text and font.getlength(text + "…") > width:
    text = text[:-1]
  return text + "…"


def _wrap(text, width, font):
  """Breaks text into lines of at most `width`; single words may be wider."""
  lines = []
  for paragraph in text.splitlines():
    line = ""
    for word in paragraph.split():
      longer = f"{line} {word}".strip()
      if line and font.getlength(longer) > width:
        lines.append(line)
        longer = word
      line = longer
    lines.append(line)
  return lines
