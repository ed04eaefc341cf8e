"""Checks the scores and rows of `color_comparison.py`."""

import importlib
import pathlib

import numpy as np
import pytest
from flax import traverse_util

from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.training import budget


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))


@pytest.fixture
def color_scores(_siblings):
  return importlib.import_module("color_scores")


def _halves(side):
  picture = np.zeros((side, side, 3), np.uint8)
  picture[:, side // 2 :] = 220
  return picture


def test_variance_is_split_into_between_and_within_things(color_scores):
  rng = np.random.default_rng(0)
  truth = np.zeros((16, 16, 2))
  sides = np.zeros((8, 16, 16, 2))
  sides[:, :, :8] = rng.normal(size=(8, 1, 1, 2))
  sides[:, :, 8:] = rng.normal(size=(8, 1, 1, 2))
  scores = color_scores._scores(_halves(64), truth, sides)
  np.testing.assert_allclose(scores["between"], scores["variance"])
  noise = rng.normal(size=sides.shape)
  scores = color_scores._scores(_halves(64), truth, noise)
  # In the mean of n cells, white noise keeps 1 / n of its variance.
  count = len(np.unique(color_scores._segments(_halves(64), 16)))
  share = scores["between"] / scores["variance"]
  np.testing.assert_allclose(share, count / 256, rtol=0.3)


def test_errors_are_those_of_the_samples(color_scores):
  truth = np.full((16, 16, 2), 30.0)
  samples = np.full((8, 16, 16, 2), 30.0)
  samples[0], samples[3] = 34.0, 130.0
  scores = color_scores._scores(_halves(64), truth, samples)
  assert scores["rmse"] == 4
  assert scores["best"] == 0
  assert scores["grey"] == 30
  assert scores["out"] == 1 / 8


@pytest.mark.parametrize(
  "name", ["laptop", "laptop, both", "token flow", "pyramid"]
)
def test_features_reach_the_flow(name):
  models = importlib.import_module("color_models")
  config = budget.for_views(models.config_of(name, views="VIEWS", seed=3))
  flow, task = build(config)
  given = isinstance(task.cond_shape, dict) and "features" in task.cond_shape
  assert given == (name != "laptop")
  params = abstract_variables(flow, task)["params"]
  names = ["/".join(path) for path in traverse_util.flatten_dict(params)]
  assert any("features" in n or "additions" in n for n in names) == given


def test_configs_share_the_task():
  models = importlib.import_module("color_models")
  for name in models.MODELS:
    config = models.config_of(name, views="VIEWS", seed=3)
    assert (config.task.ab_size, config.task.noise_scale) == (32, 0.05)
    assert (config.train.seed, config.train.batch_size) == (3, 16)


def test_rows_make_a_table():
  color_comparison = importlib.import_module("color_comparison")
  row = {
    "model": "laptop, both",
    "seconds": 120,
    "seed": 0,
    "parameters": 1234,
    "steps": [5, 6],
    "scores": dict.fromkeys([*color_comparison._TITLES, "grey"], 0.5),
  }
  text = color_comparison.table([row])
  assert "laptop, both" in text
  assert "5+6" in text
  assert "50.0 %" in text
