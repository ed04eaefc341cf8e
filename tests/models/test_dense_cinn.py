"""The dense cINNs for digits: initial values, condition and depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from tests.support.drawing import draw_variables

SIZE = 4
X = np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 1)).astype(np.float32)
LABELS = np.eye(10, dtype=np.float32)[[0, 3, 3]]


def _model(**options):
  options = {"size": SIZE, "depth": 3, "hidden": (64,), **options}
  return build_model("dense_cinn", **options)


def _init(model):
  key = jax.random.key(0, impl="rbg")  # compiles fast
  return jax.jit(model.init)(key, X, LABELS)


def _forward(model, variables, cond=LABELS):
  return model.apply(variables, X, cond, method="forward")


def test_parameters_start_at_the_published_scale():
  params = _init(_model(hidden=(64, 64), init_std=0.03))["params"]
  leaves = jax.tree.leaves(params)
  # Two subnets with weights and biases of three layers, and the condition's
  # weights.
  assert len(leaves) == 2 * 7
  for leaf in leaves:
    assert np.std(leaf) == pytest.approx(0.03, rel=0.25)
    assert abs(np.mean(leaf)) < 0.01


@pytest.mark.parametrize("zero_last", [True, False])
def test_zero_last_starts_as_a_permutation(zero_last):
  model = _model(zero_last=zero_last)
  z, log_det = _forward(model, _init(model))
  flat = X.reshape(3, -1)
  assert z.shape == flat.shape
  permuted = np.array_equal(np.sort(z, axis=1), np.sort(flat, axis=1))
  assert permuted == zero_last
  assert np.all(log_det == 0) == zero_last
  assert np.any(z != flat)


@pytest.mark.parametrize("scanned", [True, False])
def test_each_block_has_its_own_permutation(scanned):
  variables = _init(_model(depth=5, scanned=scanned))
  leaves = jax.tree.leaves(variables["constants"])
  assert len(leaves) == (1 if scanned else 5)
  orders = np.concatenate([leaf.reshape(-1, SIZE * SIZE) for leaf in leaves])
  assert orders.shape == (5, SIZE * SIZE)
  assert len({tuple(order) for order in np.asarray(orders)}) == 5
  for order in np.asarray(orders):
    assert sorted(order) == list(range(SIZE * SIZE))


def test_label_matters_and_round_trip():
  model = _model()
  # At a scale of 0.3 the flow shrinks some directions 300 times, and rounding
  # z once moves x by 2e-4, however exact the inverse is.
  variables = draw_variables(model, 0, X, LABELS, scale=0.2)
  z, log_det = _forward(model, variables)
  other, _ = _forward(model, variables, np.roll(LABELS, 1, axis=1))
  assert np.abs(z - other).max(axis=1).min() > 1e-2
  flow = make_flow(model, (SIZE, SIZE, 1))
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, LABELS)
  np.testing.assert_allclose(back, X, atol=1e-5)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-5, atol=1e-5)


def test_log_scales_are_bounded_by_alpha():
  for alpha in (1.0, 1.5):
    model = _model(depth=1, alpha=alpha)
    variables = draw_variables(model, 0, X, LABELS, scale=1e4)
    _, log_det = _forward(model, variables)
    assert np.abs(log_det).max() <= alpha * SIZE * SIZE
    _, updated = model.apply(
      variables, X, LABELS, method="forward", mutable=["diagnostics"]
    )
    [largest] = jax.tree.leaves(updated)
    # The published code's clamp, which rounds 2/pi.
    bound = 0.636 * alpha * np.pi / 2
    np.testing.assert_allclose(largest, bound, rtol=3e-4)


def test_size_of_the_program_does_not_grow_with_depth():
  def size(depth):
    model = _model(depth=depth)
    variables = jax.eval_shape(model.init, jax.random.key(0), X, LABELS)
    call = lambda v, x: _forward(model, v)  # noqa: E731
    return len(
      str(jax.make_jaxpr(call)(variables, jnp.asarray(X))).splitlines()
    )

  assert size(2) == size(20)
