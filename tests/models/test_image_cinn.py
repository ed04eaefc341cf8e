"""The cINN for pictures: its inverse, its condition and its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from tests.support.drawing import draw_variables, normal

SMALL = {"hidden": (6, 8), "depths": (2, 2), "condition_channels": (5, 7)}
X = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)
COND = np.random.default_rng(1).random((2, 2, 3, 4), np.float32)


def _draw(**options):
  """Returns a small flow and random variables."""
  model = build_model("image_cinn", **{**SMALL, **options})
  variables = draw_variables(model, 2, X, COND, scale=0.2)
  return make_flow(model, X.shape[1:]), variables


@pytest.mark.parametrize(
  "options",
  [
    {"injector": True, "mixing": "lu"},
    *(
      pytest.param(options, marks=pytest.mark.slow)
      for options in ({}, {"condition_net": False})
    ),
  ],
)
def test_round_trip(options):
  flow, variables = _draw(**options)
  z, log_det = jax.jit(flow.forward)(variables, X, COND)
  assert [leaf.shape for leaf in z] == [(2, 4, 6, 6), (2, 2, 3, 24)]
  x, inverse_log_det = jax.jit(flow.inverse)(variables, z, COND)
  np.testing.assert_allclose(x, X, atol=1e-4)
  np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4)


@pytest.mark.parametrize("condition_net", [True, False])
def test_every_level_sees_the_condition(condition_net):
  flow, variables = _draw(condition_net=condition_net)
  other = COND + 0.3 * normal(3, COND.shape, np.float32)
  forward = jax.jit(flow.forward)
  for a, b in zip(
    forward(variables, X, COND)[0], forward(variables, X, other)[0], strict=True
  ):
    assert float(jnp.max(jnp.abs(a - b))) > 1e-3
  parts = variables["params"]
  assert ("condition_net" in parts) == condition_net


@pytest.mark.slow
def test_parameters_serve_other_sizes():
  flow, variables = _draw()
  x = np.tile(X, (1, 2, 1, 1))
  wide = make_flow(flow.module, x.shape[1:])
  for cond in (COND, np.tile(COND, (1, 2, 1, 1)), x[..., [0, 1, 2, 0]]):
    z, _ = wide.forward(variables, x, cond)
    np.testing.assert_allclose(
      wide.inverse(variables, z, cond)[0], x, atol=1e-4
    )
  with pytest.raises(ValueError, match="multiples of 4, got 6x12"):
    make_flow(flow.module, (6, 12, 3)).forward(variables, X[:, :6], COND)


def test_condition_must_be_a_picture():
  model = build_model("image_cinn", **SMALL)
  for cond, got in ((None, "NoneType"), (jnp.ones((2, 5)), r"\(2, 5\)")):
    with pytest.raises(ValueError, match=rf"\[B, H, W, C\], got {got}"):
      jax.eval_shape(model.init, jax.random.key(0), X, cond)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"depths": (1,)}, "of one length; got 2, 1 and 2 entries"),
    ({"mixing": "shuffle"}, "Unknown mixing 'shuffle'; there are permutation"),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message):
    build_model("image_cinn", **{**SMALL, **options})
