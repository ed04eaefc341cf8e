"""Contact sheets, and picture files that are whole or absent."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cinn_jax.images import sheets, writing

COLOURS = [(200, 0, 0), (0, 160, 0), (0, 0, 220), (120, 0, 120), (0, 90, 90)]


def plain(colour, height=64, width=64):
  return np.full((height, width, 3), colour, np.uint8)


def box_of(sheet, colour):
  """Returns (top, left, bottom, right) of a colour that fills its box."""
  ys, xs = np.nonzero(np.all(sheet == np.array(colour, np.uint8), axis=-1))
  box = ys.min(), xs.min(), ys.max() + 1, xs.max() + 1
  assert len(ys) == (box[2] - box[0]) * (box[3] - box[1])
  return box


def dark(sheet):
  return np.max(sheet, axis=-1) < 120


def test_small_pictures_are_enlarged_in_rows_and_columns():
  rows = [[plain(c) for c in COLOURS[:3]], [plain(c) for c in COLOURS[3:]]]
  sheet = sheets.contact_sheet(rows)
  assert sheet.dtype == np.uint8 and sheet.ndim == 3
  boxes = [box_of(sheet, colour) for colour in COLOURS]
  for top, left, bottom, right in boxes:
    assert (bottom - top, right - left) == (128, 128)
  assert boxes[0][0] == boxes[1][0] == boxes[2][0] < boxes[3][0] == boxes[4][0]
  assert boxes[0][1] == boxes[3][1] < boxes[1][1] == boxes[4][1] < boxes[2][1]
  gutter = boxes[1][1] - boxes[0][3]
  assert gutter == boxes[3][0] - boxes[0][2] and 1 <= gutter <= 8


@pytest.mark.parametrize("side", [1, 2, 3, 128])
def test_pictures_of_any_size_fill_their_cells(side):
  sheet = sheets.contact_sheet([[plain(COLOURS[0], side, side)]])
  top, left, bottom, right = box_of(sheet, COLOURS[0])
  assert (bottom - top, right - left) == (128, 128)


def test_an_array_is_a_row():
  batch = np.stack([plain(colour) for colour in COLOURS[:2]])
  sheet = sheets.contact_sheet([batch])
  expected = sheets.contact_sheet([[plain(c) for c in COLOURS[:2]]])
  np.testing.assert_array_equal(sheet, expected)


def test_aspect_is_kept_on_light_grey():
  row = [plain(COLOURS[0], 300, 600), plain(COLOURS[1], 20, 10)]
  sheet = sheets.contact_sheet([row, [plain(COLOURS[2])]], cell=100)
  top, left, bottom, right = box_of(sheet, COLOURS[0])
  assert (bottom - top, right - left) == (50, 100)
  above, below = sheet[top - 1, left], sheet[bottom, left]
  np.testing.assert_array_equal(above, below)
  assert 220 < above[0] < 250
  tall = box_of(sheet, COLOURS[1])
  assert (tall[2] - tall[0], tall[3] - tall[1]) == (100, 50)
  assert abs((top + bottom) - (tall[0] + tall[2])) <= 1


def test_positions_of_titles_and_note():
  rows = [[plain(c) for c in COLOURS[:2]], [plain(c) for c in COLOURS[2:4]]]
  bare = sheets.contact_sheet(rows)
  assert not np.any(dark(bare[:8])) and not np.any(dark(bare[:, :8]))
  sheet = sheets.contact_sheet(rows, ["grey", "truth"], ["a", "b"], note="n")
  first, second, third, _ = (box_of(sheet, colour) for colour in COLOURS[:4])
  for box in (first, second):
    assert np.any(dark(sheet[: box[0], box[1] : box[3]]))
  for box in (first, third):
    assert np.any(dark(sheet[box[0] : box[2], : box[1]]))
  assert np.any(dark(sheet[third[2] :]))
  higher = sheets.contact_sheet(
    rows, ["grey", "truth"], ["a", "b"], note="words " * 60
  )
  assert higher.shape[0] > sheet.shape[0] and higher.shape[1] == sheet.shape[1]


def test_a_long_title_stays_over_its_column():
  rows = [[plain(COLOURS[0]), plain(COLOURS[1])]]
  short = sheets.contact_sheet(rows, ["", "sample"])
  long = sheets.contact_sheet(rows, ["", "sample " * 20])
  assert long.shape == short.shape
  left = box_of(long, COLOURS[1])[1]
  assert not np.any(dark(long[: box_of(long, COLOURS[0])[0], :left]))


def test_bad_sheets_raise():
  with pytest.raises(ValueError, match="at least one picture"):
    sheets.contact_sheet([])
  with pytest.raises(ValueError, match="at least one picture"):
    sheets.contact_sheet([[], []])
  rows = [[plain(COLOURS[0]), np.zeros((4, 4, 3))]]
  with pytest.raises(ValueError, match=r"row 0, column 1: .* got float64"):
    sheets.contact_sheet(rows)
  with pytest.raises(ValueError, match=r"got uint8 \[4, 4\]"):
    sheets.contact_sheet([[np.zeros((4, 4), np.uint8)]])
  with pytest.raises(ValueError, match="the picture is empty"):
    sheets.contact_sheet([[np.zeros((0, 4, 3), np.uint8)]])
  with pytest.raises(ValueError, match="column_titles: expected 1 titles"):
    sheets.contact_sheet([[plain(COLOURS[0])]], ["a", "b"])
  with pytest.raises(ValueError, match="row_titles: expected 1 titles"):
    sheets.contact_sheet([[plain(COLOURS[0])]], row_titles=[])


def noise(dtype):
  top = np.iinfo(dtype).max
  rng = np.random.default_rng(0)
  return rng.integers(0, top, (9, 7, 3), dtype, endpoint=True)


def test_png_is_exact_and_creates_folders(tmp_path):
  path = tmp_path / "new" / "folder" / "sheet.png"
  writing.save_png(path, noise(np.uint8))
  np.testing.assert_array_equal(np.asarray(Image.open(path)), noise(np.uint8))
  assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "sheet.png"
  writing.save_png(path, noise(np.uint8))
  before = path.read_bytes()

  def break_off(self, file, *args, **kwargs):
    file.write(b"half a picture")
    raise OSError("disk full")

  monkeypatch.setattr(Image.Image, "save", break_off)
  with pytest.raises(OSError, match="disk full"):
    writing.save_png(path, plain(COLOURS[0]))
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "A.TIFF"])
def test_8_bit_photos_are_exact(tmp_path, name):
  writing.save_photo(tmp_path / name, noise(np.uint8))
  with Image.open(tmp_path / name) as image:
    np.testing.assert_array_equal(np.asarray(image), noise(np.uint8))


def test_jpeg_keeps_colour_at_full_resolution(tmp_path):
  image = np.repeat(plain((255, 0, 0), 16, 8), 2, axis=1)
  image[:, ::2] = (0, 0, 255)
  writing.save_photo(tmp_path / "a.jpg", image)
  with Image.open(tmp_path / "a.jpg") as got:
    error = np.abs(np.asarray(got).astype(int) - image)
  # Colour at half resolution would mix both to purple.
  assert np.mean(error) < 12


def test_16_bit_photos_are_exact(tmp_path):
  writing.save_photo(tmp_path / "a.tif", noise(np.uint16))
  got = tifffile.imread(tmp_path / "a.tif")
  assert got.dtype == np.uint16
  np.testing.assert_array_equal(got, noise(np.uint16))


def test_bad_photos_raise(tmp_path):
  with pytest.raises(ValueError, match=r"uint16 .* \.tif, \.tiff, not as '\.p"):
    writing.save_photo(tmp_path / "a.png", noise(np.uint16))
  with pytest.raises(ValueError, match=r"not as '\.gif': change the suffix"):
    writing.save_photo(tmp_path / "a.gif", noise(np.uint8))
  with pytest.raises(ValueError, match="without suffix"):
    writing.save_photo(tmp_path / "a", noise(np.uint8))
  with pytest.raises(ValueError, match="expected uint8 or uint16 of shape"):
    writing.save_photo(tmp_path / "a.tif", np.zeros((4, 4, 3)))
  assert not list(tmp_path.iterdir())


def test_letters_of_other_languages_are_drawn():
  drawn = {letter: sheets.text(letter, 32).tobytes() for letter in "üéшñ"}
  assert len(set(drawn.values())) == 4


def test_long_names_of_rows_are_shortened():
  row = [plain(colour) for colour in COLOURS[:2]]
  short, long = (
    sheets.contact_sheet([row], row_titles=[title], cell=64)
    for title in ("name", "name" * 50)
  )
  assert long.shape[1] < short.shape[1] + 3 * 64
