"""The base of a wavelet flow alone: its own density, and the same means."""

import jax
import numpy as np
import pytest

from cinn_jax.evaluation.calibrate import levels
from cinn_jax.experiment.build import build
from cinn_jax.workdir.trained import Trained
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL


@pytest.fixture(scope="module")
def trained():
  config = {
    "model": {"name": "wavelet_flow", **SMALL, "level": 0},
    "task": {"name": "colorize", "image_size": 16, "ab_size": 8},
  }
  flow, task = build(config)
  x = normal(0, (1, *task.event_shape), np.float32)
  cond = normal(1, (1, *task.cond_shape), np.float32)
  variables = draw_variables(flow.module, 2, x, cond, scale=0.2)
  return Trained(0, config, flow, task, variables)


def test_a_level_alone_has_its_share_of_the_density(trained):
  own = levels.of_level(trained, 4)
  x = normal(3, (2, *trained.task.event_shape), np.float32)
  cond = normal(4, (2, *trained.task.cond_shape), np.float32)

  @jax.jit
  def both(x, cond):
    shares = trained.flow.module.apply(
      trained.variables, x, cond, method="log_prob_by_level"
    )
    return shares["4"], own.flow.log_prob(own.variables, x, cond).total

  share, alone = both(x, cond)
  np.testing.assert_allclose(alone, share, rtol=1e-5)
  assert {"levels_4"} <= set(own.variables["params"])
  assert "levels_8" not in own.variables["params"]


def test_a_level_has_its_own_temperature(trained):
  assert levels.scale_of(0.7, trained, 4) == 0.7
  assert levels.scale_of([0.5, 0.9], trained, 4) == 0.9
  assert levels.scale_of([0.5, 0.9], trained, 8) == 0.5


@pytest.mark.parametrize("model", [{"name": "glow"}, {"name": "w", "level": 8}])
def test_other_models_are_refused(trained, model):
  other = trained._replace(config={**trained.config, "model": model})
  with pytest.raises(ValueError, match=r"--level=4 is for a wavelet flow with"):
    levels.of_level(other, 4)
