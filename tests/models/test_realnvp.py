"""RealNVP: its masks, its levels and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.realnvp import ResidualSubnet
from tests.support.drawing import abstract_batch, draw_variables, normal

SMALL = {"levels": 1, "hidden": 4, "blocks": 2}
X = np.random.default_rng(0).random((2, 4, 2, 3)).astype(np.float32)
LABELS = np.eye(5, dtype=np.float32)[[0, 3]]


def _draw(**options):
  """Returns a small flow and random variables."""
  model = build_model("realnvp", **{**SMALL, **options})
  return make_flow(model, X.shape[1:]), draw_variables(
    model, 1, X, LABELS, scale=0.2
  )


def test_latent_shapes_and_parameter_count():
  model = build_model("realnvp")
  x = abstract_batch((32, 32, 3), 1, jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  z, _ = jax.eval_shape(model.apply, variables, x)
  shapes = [(16, 16, 6), (8, 8, 12), (4, 4, 24), (4, 4, 24)]
  assert [leaf.shape[1:] for leaf in z] == shapes

  def net(inputs, outputs, width):
    block = 2 * (9 * width**2 + width)
    ends = 9 * inputs * width + width + width * outputs + outputs
    return ends + 4 * block

  total = 0
  for k in range(4):
    c, width = 3 * 2**k, 32 * 2**k
    total += (4 if k == 3 else 3) * (net(c, 2 * c, width) + 2 * c)
    if k < 3:
      total += 3 * net(2 * c, 4 * c, 2 * width) + 2 * 8 * c
  count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  assert count == total


def test_round_trip_up_to_the_ends_of_the_range():
  flow, variables = _draw()
  forward, inverse = jax.jit(flow.forward), jax.jit(flow.inverse)
  last = np.nextafter(1, 0, dtype=np.float32)
  for x in (X, np.zeros_like(X), np.full_like(X, last)):
    z, log_det = forward(variables, x)
    back, minus_log_det = inverse(variables, z)
    assert np.isfinite(log_det).all()
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-3)


@pytest.mark.parametrize("conditioned", [False, True])
def test_class_reaches_couplings_if_conditioned(conditioned):
  flow, variables = _draw(conditioned=conditioned)
  forward = jax.jit(flow.forward)
  one, _ = forward(variables, X, LABELS)
  other, _ = forward(variables, X, LABELS[::-1])
  changed = [np.abs(a - b).max() for a, b in zip(one, other, strict=True)]
  assert (min(changed) > 1e-3) == (max(changed) > 1e-3) == conditioned


@pytest.mark.parametrize("parity", [0, 1])
def test_checkerboard_depends_on_the_kept_colour_alone(parity):
  coupling = bj.CheckerboardCoupling(
    lambda: ResidualSubnet(width=4, blocks=1), parity=parity
  )
  x = normal(2, (1, 4, 4, 2), np.float32)
  variables = draw_variables(coupling, 3, x, scale=0.3)
  kept = (np.indices((4, 4)).sum(axis=0) % 2 == parity)[None, :, :, None]
  apply = jax.jit(coupling.apply)
  z, log_det = apply(variables, x)
  np.testing.assert_array_equal((z == x).all(axis=-1), kept[..., 0])
  # The transformed pixels are no input of the network: the map is affine in
  # each of them, with the same log-det.
  shifted, same = apply(variables, x + ~kept)
  np.testing.assert_allclose(same, log_det, rtol=1e-5)
  twice, _ = apply(variables, x + 2 * ~kept)
  np.testing.assert_allclose(twice - shifted, shifted - z, atol=1e-5)
  _, other = apply(variables, x + kept)
  assert np.abs(other - log_det).max() > 1e-2


def test_bad_size_raises():
  model = build_model("realnvp", **SMALL)
  x = abstract_batch((4, 5, 3), 2, jnp.float32)
  with pytest.raises(ValueError, match="multiples of 2, got 4x5"):
    jax.eval_shape(model.init, jax.random.key(0), x)


@pytest.mark.parametrize("options", [{"sides": 2}, {"parity": 2}])
def test_bad_checkerboard_options_raise(options):
  coupling = bj.CheckerboardCoupling(lambda: None, **options)
  with pytest.raises(ValueError, match="1 side, and parity 0 or 1"):
    jax.eval_shape(coupling.init, jax.random.key(0), X)
