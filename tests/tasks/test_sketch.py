"""Sketches: the place and the darkness of edges, and given sketches."""

import numpy as np
import pytest
from PIL import Image
from skimage import data, feature
from skimage.color import rgb2gray

from cinn_jax.experiment.build import build_task
from cinn_jax.tasks.sketch import draw

SIZE = 32


def _step(height, axis):
  """Returns a picture whose second half is brighter by `height` levels."""
  picture = np.full((1, SIZE, SIZE, 3), 50, np.uint8)
  index = [slice(None)] * 4
  index[axis] = slice(SIZE // 2, None)
  picture[tuple(index)] += height
  return picture


@pytest.mark.parametrize("axis", [1, 2])
def test_higher_steps_are_darker_and_drawn_once(axis):
  darkness = []
  for height in (10, 40, 200):
    ink = 255 - np.asarray(draw(_step(height, axis)), int)[0, ..., 0]
    across = ink.any(axis=2 - axis)
    assert 1 <= across.sum() <= 2 and across[15:17].any()
    darkness.append(ink.max())
  assert 0 < darkness[0] < darkness[1] < darkness[2] == 255


def test_flat_pictures_stay_white():
  flat = np.full((1, SIZE, SIZE, 3), 77, np.uint8)
  np.testing.assert_array_equal(draw(flat), 255)


def test_diagonal_edges_are_thin():
  y, x = np.mgrid[:SIZE, :SIZE]
  for side in (y + x > SIZE, y - x > 0):
    picture = np.repeat(np.where(side, 200, 50)[..., None], 3, -1)
    edges = np.asarray(draw(picture[None].astype(np.uint8)))[0, ..., 0]
    inside = edges[4:-4, 4:-4] < 128
    assert 1 <= inside.sum(axis=1).mean() <= 2.2


def test_most_edges_are_cannys():
  photo = Image.fromarray(data.astronaut()).resize((128, 128))
  edges = np.asarray(draw(np.asarray(photo)[None]))[0, ..., 0]
  canny = feature.canny(rgb2gray(np.asarray(photo)), sigma=0.8)
  near = np.pad(canny, 1)
  near = sum(
    near[i : i + 128, j : j + 128].astype(int)
    for i in range(3)
    for j in range(3)
  )
  dark = edges < 128
  assert 0.02 < dark.mean() < 0.3
  assert (near[dark] > 0).mean() > 0.8


def test_sketches_of_the_batch_are_used():
  rng = np.random.default_rng(0)
  image, given = rng.integers(0, 256, (2, 2, SIZE, SIZE, 3), np.uint8)
  batch = {"image": image, "condition": given}
  task = build_task("sketch", image_size=SIZE, condition_channels=3)
  _, cond = task.prepare(batch)
  np.testing.assert_array_equal(np.floor(np.asarray(cond) * 256), given)
  task = build_task("sketch", image_size=SIZE)
  _, cond = task.prepare(batch)
  luma = [np.asarray(Image.fromarray(p).convert("L")) for p in given]
  np.testing.assert_array_equal(np.floor(np.asarray(cond[..., 0]) * 256), luma)
  with pytest.raises(ValueError, match="1 or 3, got 2"):
    build_task("sketch", image_size=SIZE, condition_channels=2)
