"""Injectors: formulas, initial values and the cost of many samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables, normal

CONV = functools.partial(Subnet, widths=(6, 5), kernels=(3, 1, 3))
X, MAP, VECTOR = (
  normal(seed, shape, np.float32)
  for seed, shape in enumerate([(2, 4, 4, 3), (2, 4, 4, 2), (2, 5)])
)
CONDITIONS = {
  "map": (MAP, MAP, []),
  "vector_before_map": ((VECTOR, MAP), MAP, [VECTOR]),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_affine_injector_formula(name):
  cond, u, others = CONDITIONS[name]
  injector = bj.AffineInjector(CONV, alpha=0.8, clamp="freia_2021")
  variables = draw_variables(injector, 3, X, cond, 0.5)
  head = CONV().apply({"params": variables["params"]["net"]}, u, others, 6)
  log_scale = 0.8 * 0.636 * np.arctan(head[..., :3])
  z, log_det = jax.jit(injector.apply)(variables, X, cond)
  expected = X * np.exp(log_scale) + head[..., 3:]
  np.testing.assert_allclose(z, expected, atol=1e-5)
  np.testing.assert_allclose(log_det, log_scale.sum((1, 2, 3)), rtol=1e-4)
  _, updated = injector.apply(variables, X, cond, mutable=["diagnostics"])
  largest = updated["diagnostics"]["max_log_scale"]
  np.testing.assert_allclose(largest, np.abs(log_scale).max(), rtol=1e-5)


def test_additive_injector_formula():
  injector = bj.AdditiveInjector(CONV)
  variables = draw_variables(injector, 3, X, MAP, 0.5)
  shift = CONV().apply({"params": variables["params"]["net"]}, MAP, None, 3)
  z, log_det = injector.apply(variables, X, MAP)
  np.testing.assert_allclose(z, X + shift, atol=1e-5)
  np.testing.assert_array_equal(log_det, 0)


@pytest.mark.parametrize("kind", [bj.AffineInjector, bj.AdditiveInjector])
def test_injector_starts_as_the_identity(kind):
  injector = kind(CONV)
  variables = injector.init(jax.random.key(0, impl="rbg"), X, MAP)
  z, log_det = injector.apply(variables, X, MAP)
  np.testing.assert_array_equal(z, X)
  np.testing.assert_array_equal(log_det, 0)


def test_many_samples_share_the_network():
  injector = bj.AffineInjector(CONV)
  variables = draw_variables(injector, 3, X, MAP)

  def flops(samples):
    inverse = functools.partial(injector.apply, method="inverse")
    many = jax.jit(jax.vmap(inverse, (None, 0, None)))
    lowered = many.lower(variables, jnp.zeros((samples, *X.shape)), MAP)
    return lowered.compile().cost_analysis()["flops"]

  assert flops(8) < 2 * flops(1)
