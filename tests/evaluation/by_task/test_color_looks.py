"""Colourfulness, and the looks of a split's colorizations."""

import types

import numpy as np
import pytest

from cinn_jax.evaluation.by_task import color_looks
from cinn_jax.evaluation.metrics import lpips
from cinn_jax.evaluation.metrics.colorfulness import colorfulness
from cinn_jax.experiment.build import build_task


def test_colorfulness_of_two_plain_halves():
  picture = np.zeros((2, 4, 3), np.uint8)
  picture[:, :2] = (200, 100, 50)  # rg 100, yb 100
  picture[:, 2:] = (40, 40, 40)  # without colour
  # Deviations and means of both differences are 50.
  expected = np.hypot(50, 50) + 0.3 * np.hypot(50, 50)
  values = colorfulness(np.stack([picture, 0 * picture]))
  np.testing.assert_allclose(values, [expected, 0])
  # The differences lose their signs: red and green are the same.
  swapped = picture[..., [1, 0, 2]]
  np.testing.assert_allclose(colorfulness(swapped), expected)


@pytest.fixture
def trained():
  task = build_task("colorize", image_size=16, ab_size=8)
  flow = types.SimpleNamespace(module=None, objective=None)
  return types.SimpleNamespace(task=task, flow=flow, variables={})


def test_looks_of_a_split(trained):
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
  grey = truth.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
  # The first samples of four pictures are right, those of two are wrong.
  samples = np.stack([truth, 255 - truth], 1)
  samples[4:] = samples[4:, ::-1]
  looks = color_looks.Looks(trained, ["samples"], "grey", "real")
  for part in (slice(0, 4), slice(4, 6)):
    outcome = samples[part], np.zeros((len(truth[part]), 2))
    looks.add({"image": truth[part]}, grey[part], [outcome])
  rows, notes = looks.summary(num_samples=2, seed=0)
  one = rows["samples"].metrics
  np.testing.assert_allclose(one["beats_grey"][0], 100 * 4 / 6)
  np.testing.assert_allclose(
    one["pixel_std"][0],
    np.mean(np.std(samples.astype(float), 1, ddof=1)),
    rtol=1e-6,
  )
  # Inverting a picture keeps its differences of channels.
  np.testing.assert_allclose(
    one["colorfulness"][0], colorfulness(truth).mean(), rtol=1e-9
  )
  assert rows["grey"].metrics["colorfulness"][0] == 0
  assert "Colourfulness of samples minus the truth's, of means: +0.00." in notes
  assert any(note.startswith("Coverage takes more samples") for note in notes)
  if not lpips.is_installed():
    assert any(note.startswith("LPIPS needs its weights") for note in notes)
  assert set(one) <= set(color_looks.METRICS)
