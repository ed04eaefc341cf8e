"""Schedules of the learning rate against the published ones."""

import numpy as np
import pytest

from cinn_jax.training.optimizer import make_schedule
from configs import mnist
from tests.support.optimizing import (
  PARAMS,
  adam,
  assert_part,
  draw_gradients,
  parts_of,
  run,
)


def test_schedule_sets_the_step_size():
  gradients = draw_gradients(3)
  options = {"every": 1, "factor": 0.5}
  params = run(gradients, schedule="step", schedule_options=options)[-1]
  expected = adam(
    PARAMS["bijection"]["bias"],
    parts_of(gradients, "bijection"),
    [0.1, 0.05, 0.025],
  )
  assert_part(params, "bijection", expected)


def test_plateau_reduces_the_rate():
  plateau = {"factor": 0.5, "patience": 2, "accumulation_size": 1}

  def step_sizes(losses):
    params = run(draw_gradients(1) * len(losses), losses, plateau=plateau)
    parts = parts_of(params, "bijection")
    return np.linalg.norm(np.diff(np.stack(parts), axis=0), axis=1)

  flat = step_sizes([6.0, *[5.0] * 5])
  ratios = flat / step_sizes([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
  # The best loss is that of the second step; patience is two more steps.
  np.testing.assert_allclose(ratios, [1, 1, 1, 0.5, 0.5, 0.25], rtol=1e-4)


@pytest.mark.parametrize(
  "options, expected",
  [
    ({"schedule": "constant"}, {0: 2.0, 5: 2.0, 100: 2.0}),
    (
      {"schedule": "constant", "warmup_steps": 4},
      {0: 0.0, 1: 0.5, 3: 1.5, 4: 2.0, 50: 2.0},
    ),
    ({"schedule": "cosine"}, {0: 2.0, 25: 2 * 0.853553, 50: 1.0, 100: 0.0}),
    (
      {"schedule": "cosine", "end_fraction": 0.1, "warmup_steps": 20},
      {0: 0.0, 10: 1.0, 20: 2.0, 60: 1.1, 100: 0.2},
    ),
    (
      {"schedule": "step", "every": 10, "factor": 0.1},
      {0: 2.0, 9: 2.0, 10: 0.2, 19: 0.2, 20: 0.02},
    ),
    (
      {"schedule": "multistep", "boundaries": (10, 35), "factor": 0.1},
      {0: 2.0, 9: 2.0, 10: 0.2, 34: 0.2, 35: 0.02, 99: 0.02},
    ),
    (
      {
        "schedule": "multistep",
        "boundaries": (10,),
        "factor": 0.5,
        "warmup_steps": 4,
        "warmup_fractions": (0.1, 0.5),
      },
      {0: 0.2, 2: 0.6, 3: 0.8, 4: 2.0, 13: 2.0, 14: 1.0},
    ),
  ],
)
def test_schedules_at_known_steps(options, expected):
  rate = make_schedule(2.0, 100, **options)
  actual = {step: float(rate(step)) for step in expected}
  assert actual == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_published_schedules_for_mnist():
  def rate(variant):
    config = mnist.get_config(variant)
    options = config.optimizer.to_dict()
    return config.train.num_steps, make_schedule(
      options["learning_rate"],
      config.train.num_steps,
      options["schedule"],
      **options["schedule_options"],
    )

  # 60 epochs of 230 steps; a tenth of the rate after 20 and after 40.
  steps, minimal = rate("minimal")
  assert steps == 13_800
  at = {0: 5e-4, 4_599: 5e-4, 4_600: 5e-5, 9_199: 5e-5, 9_200: 5e-6}
  assert {k: float(minimal(k)) for k in at} == pytest.approx(at, rel=1e-4)
  # One epoch of 117 steps at a fiftieth of the rate, then 1,440 epochs that
  # fall to a hundredth.
  steps, paper = rate("paper")
  assert steps == 117 * 1_441
  half = 117 * 721
  at = {0: 2e-6, 116: 2e-6, 117: 1e-4, 233: 1e-4, half: 1e-5, steps: 1e-6}
  assert {k: float(paper(k)) for k in at} == pytest.approx(at, rel=1e-3)
  assert 0.99e-4 < paper(234) < 0.9999e-4
