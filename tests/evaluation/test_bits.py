"""A split's scores: exact sums, both units, and their description."""

import math

import jax
import numpy as np
import pytest

from cinn_jax.evaluation import bits
from cinn_jax.experiment.build import build_task
from cinn_jax.flow import make_flow
from cinn_jax.models.wavelet_flow import wavelet_flow
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL

TASK = build_task("class_conditional", image_size=2, std=0.25, mean=0.5)


def _batch(prior, log_det, mask, round_trip=1e-6, log_scale=0.5):
  values = {
    "prior": np.array(prior, np.float32),
    "log_det": np.array(log_det, np.float32),
    "round_trip": np.full(len(prior), round_trip, np.float32),
    "max_log_scale": np.float32(log_scale),
  }
  return values, np.array(mask, bool)


def test_scores_are_exact_over_the_masks():
  scores = bits.summarize(
    [
      _batch([-4, -6], [1, 3], [1, 1]),
      _batch([-8, np.nan], [5, np.inf], [1, 0], 1e-5, 0.75),
    ],
    TASK,
  )
  nats = -(-6 + 3) / 4  # -(mean prior + mean log-det) per dimension
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


def test_exploding_inverse_is_reported():
  scores = bits.summarize(
    [
      _batch([-4], [1], [1], np.inf, np.nan),
      _batch([-4], [1], [1], 1e-6, 0.5),
    ],
    TASK,
  )
  assert scores["round_trip_error"] == np.inf
  assert np.isnan(scores["max_log_scale"])
  assert "error inf, log-scale nan." in bits.in_words(scores, TASK)
  # `records` writes infinity as a string.
  assert "error inf," in bits.in_words(
    {**scores, "round_trip_error": "inf"}, TASK
  )


def test_interval_resamples_the_pictures():
  few, many = (
    bits.summarize(
      # Pictures of 1 bit/dim and as many of 3; padding does not count.
      [
        _batch([-math.log(256)] * n, [math.log(16) * k] * n, [1] * n)
        for k in (1, -1)
      ]
      + [_batch([np.nan], [0], [0])],
      TASK,
      interval=True,
    )
    for n in (8, 800)
  )
  for scores, error in ((few, 0.25), (many, 0.025)):
    assert scores["bits_per_dim"] == pytest.approx(2)
    low, high = scores["bits_per_dim_interval"]
    # The standard error of the mean of 16 or 1,600 values, each 1 away from it.
    assert 2 - low == pytest.approx(1.96 * error, rel=0.15)
    assert high - 2 == pytest.approx(1.96 * error, rel=0.15)
  low, high = few["bits_per_dim_interval"]
  assert f" 2.0000 [{low:.4f}, {high:.4f}] = " in bits.in_words(few, TASK)


def test_single_picture_has_no_interval():
  scores = bits.summarize([_batch([-1], [0], [1])], TASK, interval=True)
  assert scores["bits_per_dim_interval"] is None
  assert "[" not in bits.in_words(scores, TASK)


def test_empty_split_raises():
  with pytest.raises(ValueError, match="no example"):
    bits.summarize([_batch([1.0], [1.0], [0])], TASK)


@pytest.mark.slow
def test_shares_of_the_levels_add_up_to_the_total():
  task = build_task("colorize", image_size=16, ab_size=8)
  flow = make_flow(wavelet_flow(**SMALL), task.event_shape, task.cond_shape)
  image = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  x = normal(0, (2, *task.event_shape), np.float32)
  cond = normal(1, (2, *task.cond_shape), np.float32)
  variables = draw_variables(flow.module, 2, x, cond, scale=0.2)
  score = jax.jit(bits.make_scorer(flow, task, seed=0))
  values = jax.device_get(score(variables, {"image": image}, 0))
  scores = bits.summarize([(values, np.ones(2, bool))], task)
  shares = [scores[f"bits_per_dim_of_level_{cells}"] for cells in (4, 8)]
  assert sum(shares) == pytest.approx(scores["bits_per_dim"], rel=1e-5)
  assert min(map(abs, shares)) > 0.01
  words = bits.in_words(scores, task)
  assert f"level: 4 {shares[0]:.4f}, 8 {shares[1]:.4f}." in words
