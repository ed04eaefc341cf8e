"""Settings of every model: its memory policy and its networks' precision."""

import dataclasses
import functools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import models
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.runtime.jax_internals import operations
from tests.support.drawing import draw_variables, normal
from tests.support.small_models import SMALL, build

# RealNVP has no stack, so no memory policy.
STACKED = [name for name in SMALL if name != "realnvp"]


def test_every_model_has_a_case():
  assert set(models.BUILDERS) == set(SMALL) - {"vector_flow"}


def _stacks(part):
  """Yields every stack inside a flow."""
  if isinstance(part, bj.Stack):
    yield part
  if isinstance(part, nn.Module):
    fields = {field.name for field in dataclasses.fields(part)} - {"parent"}
    part = [getattr(part, name, None) for name in sorted(fields)]
  if isinstance(part, Mapping):
    part = list(part.values())
  if isinstance(part, list | tuple):
    for inner in part:
      yield from _stacks(inner)


@pytest.mark.parametrize("name", STACKED)
def test_a_memory_policy_reaches_every_stack(name):
  policies = [
    [stack.memory for stack in _stacks(build(name, **options))]
    for options in ({}, {"memory": "remat"})
  ]
  assert policies[0]
  assert policies == [
    ["store"] * len(policies[0]),
    ["remat"] * len(policies[1]),
  ]


def _traced(name, **options):
  """Returns forward's results, all variables and its jaxpr; shapes only."""
  model, small = build(name, **options), SMALL[name]
  x = jax.ShapeDtypeStruct((2, *small.x), jnp.float32)
  cond = jax.ShapeDtypeStruct((2, *small.cond), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(model.init, key, x, cond)
  run = functools.partial(model.apply, mutable=["diagnostics"])
  jaxpr, out = jax.make_jaxpr(run, return_shape=True)(variables, x, cond)
  return out, variables, jaxpr.jaxpr


def _equations(jaxpr):
  """Yields the equations of a jaxpr and of all bodies in it."""
  yield from jaxpr.eqns
  for operation in operations(jaxpr):
    for body in operation.bodies:
      yield from _equations(body)


def _dtypes(equations, *names):
  """Returns the types of the first inputs of the primitives of these names."""
  return {
    str(equation.invars[0].aval.dtype)
    for equation in equations
    if equation.primitive.name in names
  }


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_is_for_networks_alone(name):
  out, variables, jaxpr = _traced(name, compute_dtype="bfloat16")
  equations = list(_equations(jaxpr))
  products = ("dot_general", "conv_general_dilated", "cpu_conv")
  assert "bfloat16" in _dtypes(equations, *products)
  # Heads and clamps, then results.
  assert _dtypes(equations, "exp", "atan", "log", "logistic") == {"float32"}
  leaves = jax.tree.leaves((out, variables))
  dtypes = {leaf.dtype.name for leaf in leaves}
  assert dtypes <= {"float32", "int32"}


def test_default_precision_is_float32():
  _, _, jaxpr = _traced("dense_cinn")
  dtypes = {v.aval.dtype.name for e in _equations(jaxpr) for v in e.outvars}
  assert "bfloat16" not in dtypes


@pytest.mark.parametrize("option", ["memory", "compute_dtype"])
def test_unknown_name_raises(option):
  with pytest.raises(ValueError, match=r"'float8'; there are [\w, ]+\."):
    _traced("dense_cinn", **{option: "float8"})


NET = functools.partial(
  Subnet, widths=(32,), kernels=(3, 1), dtype=jnp.bfloat16
)


def _round_trip(bijection, scale):
  """Returns the largest errors of x, and of log_det relative to its size."""
  x, cond = normal(0, (8, 8, 8, 4), np.float32), normal(1, (8, 8, 8, 3))
  cond = cond.astype(np.float32)
  variables = draw_variables(bijection, 2, x, cond, scale)
  z, log_det = jax.jit(bijection.apply)(variables, x, cond)
  inverse = functools.partial(bijection.apply, method="inverse")
  back, minus_log_det = jax.jit(inverse)(variables, z, cond)
  return (
    np.abs(back - x).max(),
    np.abs(log_det + minus_log_det).max() / np.abs(log_det).max(),
  )


def test_one_sided_bfloat16_round_trip_is_exact():
  # The passive half does not change, so both directions round alike.
  error, log_det_error = _round_trip(bj.AffineCoupling(NET, sides=1), 0.1)
  assert 0 < error < 1e-5
  assert log_det_error < 1e-6


def test_two_sided_bfloat16_round_trip_is_within_its_precision():
  # The second network of a coupling sees its input rebuilt in float32. If that
  # rounds to another bfloat16, the network's output changes.
  block = bj.Chain((bj.AffineCoupling(NET), bj.Orthogonal()))
  error, log_det_error = _round_trip(bj.Stack(block, 8), 0.05)
  half = float(jnp.finfo(jnp.bfloat16).eps)
  assert 1e-5 < error < 4 * half
  assert log_det_error < half
