"""The sheets of `--mode=latent`, for a class-conditional and an image task."""

import functools

import jax
import numpy as np
import pytest

from cinn_jax.evaluation.latent import sheets
from cinn_jax.evaluation.latent.subject import choose_conditions, subject_of
from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.workdir.trained import Trained
from configs import mnist
from tests.support import tiny
from tests.support.drawing import draw_like


def _digits():
  config = mnist.get_config("digits")
  config.model.update({"depth": 2, "hidden": (8,)})
  return config


@functools.cache
def _subject(name):
  config = {"digits": _digits, "photos": tiny.config}[name]().to_dict()
  flow, task = build(config)
  abstract = abstract_variables(flow, task)
  x, cond = (
    np.zeros((1, *shape), np.float32)
    for shape in (task.event_shape, task.cond_shape)
  )
  variables = jax.jit(flow.init)(jax.random.key(0, impl="rbg"), x, cond)
  variables["params"] = draw_like(abstract["params"], 1, np.float32, 0.1)
  trained = Trained(1, config, flow, task, variables)
  return subject_of(trained, seed=0)


@functools.cache
def _sheets(name):
  """Returns lists of sheets by name."""
  subject = _subject(name)
  return {k: list(make(subject)) for k, make in sheets.SHEETS.items()}


def test_unconditional_task_has_one_empty_condition():
  index, titles = choose_conditions(np.zeros((5, 0), np.float32))
  assert index.tolist() == [0] and titles == ["nothing"]


@pytest.mark.slow
def test_conditions_of_both_tasks():
  digits, photos = _subject("digits"), _subject("photos")
  np.testing.assert_array_equal(digits.conds, np.eye(10))
  assert digits.titles == [str(k) for k in range(10)]
  assert len(digits.latents) == 360  # The whole test split.
  assert len(photos.conds) == 8 and len(photos.latents) == 3
  assert len(np.unique(photos.conds.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize(
  "name", ["digits", pytest.param("photos", marks=pytest.mark.slow)]
)
def test_every_sheet_renders(name):
  subject = _subject(name)
  render = jax.jit(jax.vmap(subject.task.render))
  for group in _sheets(name).values():
    for sheet in group:
      assert np.isfinite(sheet.x).all()
      assert sheet.x.shape[:2] == sheet.conds.shape[:2]
      assert sheet.x.shape[2:] == subject.task.event_shape
      assert sheet.x.shape[:2] == (len(sheet.rows), len(sheet.columns))
  picture = sheets.contact_sheet(_sheets(name)["grid"][0], render)
  assert picture.dtype == np.uint8 and picture.std() > 5


def test_transfer_keeps_x_under_its_condition():
  [sheet] = _sheets("digits")["transfer"]
  decoded = sheet.x[:, 1:]
  own = decoded[np.arange(10), np.arange(10)]
  np.testing.assert_allclose(own, sheet.x[:, 0], atol=1e-4)
  assert np.abs(decoded[0, 1] - decoded[0, 0]).max() > 0.01


@pytest.mark.slow
def test_colour_transfer_has_a_random_finest_level():
  [sheet] = _sheets("photos")["transfer"]
  own = sheet.x[:, 1:][np.arange(8), np.arange(8)]
  assert np.abs(own - sheet.x[:, 0]).max() > 0.1
  assert "(1.0, 0.7, 0.0)" in sheet.note


@pytest.mark.slow
def test_levels_sheet_needs_several_levels():
  assert _sheets("digits")["levels"] == []
  [sheet] = _sheets("photos")["levels"]
  assert sheet.x.shape[0] == 3 * 2
  # Every level changes the pictures, and every draw is different.
  assert sheet.x.std(axis=1).max(axis=(1, 2, 3)).min() > 1e-3


def test_middles_of_walks():
  groups = _sheets("digits")
  temperatures, grid = groups["temperatures"][0], groups["grid"][0]
  subject = _subject("digits")
  zero = np.zeros((1, 1, 64), np.float32)
  at_zero = subject.decode(zero)[:, 0]
  np.testing.assert_allclose(temperatures.x[:, 0], at_zero, atol=1e-5)
  np.testing.assert_allclose(grid.x[2, 2], at_zero[5], atol=1e-5)
  mean = subject.latents.mean(axis=0)[None, None]
  np.testing.assert_allclose(
    groups["axes"][0].x[:, 4], subject.decode(mean)[:, 0], atol=1e-4
  )
