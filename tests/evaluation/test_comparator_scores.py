"""Scores of models other than flows: means over the masks, and words."""

import math

import numpy as np
import pytest

from cinn_jax.evaluation import bits, comparator_scores
from cinn_jax.experiment.build import build_task

TASK = build_task("class_conditional", image_size=2, std=0.25, mean=0.5)


def _batch(mask, **values):
  arrays = {name: np.array(value, np.float32) for name, value in values.items()}
  return arrays, np.array(mask, bool)


def test_a_bound_becomes_bits_per_dim():
  scores = comparator_scores.summarize(
    [
      _batch([1, 1], error=[1, 2], bound=[-4, -8]),
      _batch([1, 0], error=[6, np.nan], bound=[-12, np.inf]),
    ],
    TASK,
    interval=True,
  )
  assert scores["error"] == 3 and scores["examples"] == 3
  assert scores["bits_per_dim"] == pytest.approx(2 / math.log(2))
  shift = math.log2(0.25 * 255)
  assert scores["bits_per_dim_of_unscaled_data"] == pytest.approx(
    scores["bits_per_dim"] + shift
  )
  low, high = scores["bits_per_dim_interval"]
  assert low < scores["bits_per_dim"] < high
  words = bits.in_words(scores, TASK)
  assert "bits/dim at most 2.8854" in words and "(3 pictures)" in words


def test_without_a_bound_there_are_no_bits():
  scores = comparator_scores.summarize([_batch([1], error=[0.5])], TASK)
  assert scores == {"error": 0.5, "examples": 1}
  assert bits.in_words(scores, TASK) == (
    "error of one sample 0.5000 (1 pictures); no bits/dim: this model has no"
    " likelihood."
  )


def test_an_empty_split_raises():
  with pytest.raises(ValueError, match="the split is empty"):
    comparator_scores.summarize([_batch([0], error=[0.5])], TASK)
