"""Inpainting: holes, the known pixels around them, and rendering."""

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build_task
from cinn_jax.images import color

SIZE = 32
IMAGE = np.random.default_rng(0).integers(1, 256, (4, SIZE, SIZE, 3), np.uint8)


def _task(**options):
  return build_task("inpaint", **{"image_size": SIZE, **options})


def _known(task, image=IMAGE, **more):
  _, cond = jax.jit(task.prepare)({"image": image, **more})
  return np.asarray(cond[..., 3])


def test_square_hole_is_the_published_one():
  image = np.zeros((1, 64, 64, 3), np.uint8)
  hole = 1 - _known(_task(image_size=64), image)[0]
  assert hole.sum() == 24**2 and hole[20:44, 20:44].all()


def test_half_hides_the_right_half():
  hole = 1 - _known(_task(mask="half"))
  assert hole[:, :, 16:].all() and not hole[:, :, :16].any()


def test_strokes_depend_only_on_the_picture():
  prepare = jax.jit(_task(mask="free_form").prepare)
  known = np.asarray(prepare({"image": IMAGE})[1][..., 3])
  again = np.asarray(prepare({"image": IMAGE[::-1]})[1][..., 3])
  np.testing.assert_array_equal(known, again[::-1])
  assert len({hole.tobytes() for hole in known}) == len(IMAGE)
  # One changed level, or two swapped pixels, gives another hole.
  other = IMAGE.copy()
  other[0, 0, 0, 0] ^= 1
  other[1, [0, 5], 3] = other[1, [5, 0], 3]
  moved = np.asarray(prepare({"image": other})[1][..., 3])
  changed = (moved != known).any(axis=(1, 2)).tolist()
  assert changed == [True, True, False, False]


def test_strokes_have_a_sensible_area_and_width():
  image = np.random.default_rng(1).integers(0, 256, (64, 64, 64, 3), np.uint8)
  hole = 1 - _known(_task(mask="free_form", image_size=64), image)
  share = hole.mean(axis=(1, 2))
  assert 0.2 < share.mean() < 0.35
  assert share.min() > 0.04 and share.max() < 0.65
  # Almost no pixel stands alone: a stroke's radius is at least 0.03 * 64.
  padded = np.pad(hole, ((0, 0), (1, 1), (1, 1)))
  vertical = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
  assert (vertical[hole == 1] > 0).mean() > 0.99


@pytest.mark.parametrize("mask", ["square", "half", "free_form"])
@pytest.mark.parametrize("mask_channel", [True, False])
def test_render_composes_known_pixels_exactly(mask, mask_channel):
  if mask == "free_form" and not mask_channel:
    with pytest.raises(ValueError, match="needs mask_channel=True"):
      _task(mask=mask, mask_channel=False)
    return
  task = _task(mask=mask, mask_channel=mask_channel)
  known = _known(_task(mask=mask))
  x, cond = jax.jit(task.prepare)({"image": IMAGE})
  assert cond.shape[-1] == (4 if mask_channel else 3)
  black = np.asarray(color.to_uint8(task.render(0 * x, cond)))
  np.testing.assert_array_equal(black, IMAGE * known[..., None].astype(int))
  given = np.asarray(color.to_uint8(task.condition_picture(cond)))
  np.testing.assert_array_equal(given, black)
  assert np.isposinf(task.consistency(black / np.float32(255), cond)).all()
  bare = _task(mask=mask, mask_channel=mask_channel, compose=False)
  assert not np.any(color.to_uint8(bare.render(0 * x, cond)))


def test_reference_is_the_mean_of_known_pixels():
  task = _task(mask="half")
  _, cond = task.prepare({"image": IMAGE})
  answer = np.asarray(task.reference(cond)) * 255
  np.testing.assert_allclose(answer[:, :, :16], IMAGE[:, :, :16], atol=1e-3)
  mean = IMAGE[:, :, :16].mean(axis=(1, 2))
  np.testing.assert_allclose(answer[:, 3, 20], mean, rtol=1e-4)


def test_holes_of_the_batch_are_used():
  hole = np.zeros((4, SIZE, SIZE, 3), np.uint8)
  hole[:, :4] = 255
  known = _known(_task(), hole=hole)
  assert not known[:, :4].any() and known[:, 4:].all()
  with pytest.raises(ValueError, match="trained with one fixed hole"):
    _task(mask_channel=False).prepare({"image": IMAGE, "hole": hole})


@pytest.mark.parametrize(
  "options, complaint",
  [
    ({"mask": "round"}, "one of square, half, free_form, got 'round'"),
    ({"area": 0.0}, "No square has 0 of the area"),
    ({"area": 1.5}, "No square has 1.5 of the area"),
  ],
)
def test_bad_settings_raise(options, complaint):
  with pytest.raises(ValueError, match=complaint):
    _task(**options)
