"""`fit` in float64: every bijection keeps its types, and three are fitted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.models.vector_flow import vector_flow
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import init_fit, make_update
from tests.support.drawing import abstract_batch
from tests.support.registry import CASES

SUBNET = functools.partial(cinn_jax.Subnet, widths=(8,), kernels=(1, 1))


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_update_keeps_types(name):
  bijection, shape, cond_shapes = CASES[name]
  flow = cinn_jax.make_flow(bijection, shape)
  optimizer = make_optimizer(num_steps=9, learning_rate=1e-3, clip_norm=5.0)
  x = jax.ShapeDtypeStruct((4, *shape), jnp.float64)
  cond = abstract_batch(cond_shapes, 4)
  rng = jax.eval_shape(lambda: jax.random.key(0))
  before = jax.eval_shape(
    lambda rng, x, cond: init_fit(rng, flow, optimizer, x, cond), rng, x, cond
  )
  after, _ = jax.eval_shape(make_update(flow, optimizer), before, x, cond)
  changed = [
    (a.dtype, b.dtype)
    for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    if a.dtype != b.dtype
  ]
  assert not changed


AFFINE = bj.Chain((bj.ActNorm(), bj.AffineCoupling(SUBNET)))
SPLINES = bj.Chain((bj.InvertibleConv1x1(), bj.SplineCoupling(SUBNET)))


@pytest.mark.parametrize(
  "module, own",
  [
    (AFFINE, True),
    (AFFINE, False),
    pytest.param(SPLINES, False, marks=pytest.mark.slow),
    pytest.param(
      vector_flow(2, blocks=2, hidden=(8,)), False, marks=pytest.mark.slow
    ),
  ],
)
def test_fit_of_float64_data(module, own):
  random = np.random.default_rng(0)
  x = 1e9 + random.normal(size=(300, 2))
  cond = x + random.normal(size=(300, 2))
  flow = cinn_jax.make_flow(module, (2,))
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
  variables, history = cinn_jax.fit(
    flow,
    jax.random.key(0),
    x,
    cond,
    optimizer=optimizer if own else None,
    num_epochs=5,
    batch_size=50,
    progress=False,
  )
  assert np.isfinite(history.validation_log_prob).all()
  samples, _ = flow.sample(variables, jax.random.key(1), cond, num_samples=20)
  assert samples.dtype == jnp.float64
  residual = np.asarray(samples).mean(axis=(0, 1)) - x.mean(axis=0)
  assert np.abs(residual).max() < 0.5
