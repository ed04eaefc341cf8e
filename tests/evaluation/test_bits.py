"""A split's scores: exact sums, both units, and the sentence about them."""

import math

import numpy as np
import pytest

from cinn_jax import tasks
from cinn_jax.evaluation import bits

TASK = tasks.build("class_conditional", image_size=2, std=0.25, mean=0.5)


def _batch(prior, log_det, mask, round_trip=1e-6, log_scale=0.5):
  values = {
    "prior": np.array(prior, np.float32),
    "log_det": np.array(log_det, np.float32),
    "round_trip": np.full(len(prior), round_trip, np.float32),
    "max_log_scale": np.float32(log_scale),
  }
  return values, np.array(mask, bool)


def test_scores_are_exact_over_what_the_masks_keep():
  scores = bits.summarize(
    [
      _batch([-4, -6], [1, 3], [1, 1]),
      _batch([-8, np.nan], [5, np.inf], [1, 0], 1e-5, 0.75),
    ],
    TASK,
  )
  nats = -(-6 + 3) / 4  # -(mean prior + mean log-det) per number
  assert scores["bits_per_dim"] == pytest.approx(nats / math.log(2))
  assert scores["bits_prior"] == pytest.approx(6 / 4 / math.log(2))
  assert scores["bits_log_det"] == pytest.approx(-3 / 4 / math.log(2))
  assert scores["examples"] == 3
  assert scores["round_trip_error"] == pytest.approx(1e-5)
  assert scores["max_log_scale"] == 0.75
  assert scores["nats_without_constant"] == pytest.approx(
    nats - 0.5 * math.log(2 * math.pi)
  )
  assert scores["bits_per_dim_of_unscaled_data"] == pytest.approx(
    (nats + math.log(0.25 * 255)) / math.log(2)
  )
  words = bits.in_words(scores, TASK)
  assert "(3 pictures)" in words and "steps of 256 grey levels" in words
  for name in ("bits_per_dim", "bits_per_dim_of_unscaled_data"):
    assert f"{scores[name]:.4f}" in words
  assert f"{scores['nats_without_constant']:.4f} nats/dim" in words


def test_an_empty_split_is_refused():
  with pytest.raises(ValueError, match="no example"):
    bits.summarize([_batch([1.0], [1.0], [0])], TASK)
