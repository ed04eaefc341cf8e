"""What every model takes: a memory policy, and its networks' precision."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from cinn_jax import bijections as bj
from cinn_jax import models
from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.vector_flow import vector_flow
from tests.support.drawing import draw_variables, normal

_PAIR = {"levels": 2, "depth": 2, "hidden": 4, "transitions": 0}
_LATENT = {"latent_hidden": 4, "latent_transitions": 0}
# name: (settings of a small one, shape of x, shape of cond)
SMALL = {
  "caflow": (
    {**_PAIR, **_LATENT, "latent_depths": (1, 1)},
    *((8, 8, 3), (8, 8, 3)),
  ),
  "color_mnist": (
    {
      "size": 8,
      "conv_depth": 2,
      "depth": 2,
      "hidden": (4,),
      "convolutions": ((4,),),
      "classifier_hidden": (4,),
    },
    *((8, 8, 3), (8, 8, 1)),
  ),
  "conditional_glow": (
    {
      "levels": 1,
      "depth": 1,
      "hidden": 4,
      "head": 4,
      "condition_channels": (4,),
    },
    *((4, 4, 3), (4, 4, 1)),
  ),
  "dense_cinn": (
    {"size": 4, "depth": 2, "hidden": (4,)},
    *((4, 4, 1), (10,)),
  ),
  "dual_glow": (_PAIR, (8, 8, 3), (8, 8, 3)),
  "dual_glow_plus": (
    {**_PAIR, **_LATENT, "latent_depth": 1},
    *((8, 8, 3), (8, 8, 3)),
  ),
  "glow": (
    {"levels": 2, "depth": 2, "hidden": 4, "dequantization_depth": 1},
    *((8, 8, 3), (10,)),
  ),
  "haar_colorization": (
    {
      "size": 8,
      "hidden": (4, 4, 4, 8),
      "condition_levels": (((4, 1),), ((4, 2),), ((4, 2),)),
      "condition_vector": 4,
      "condition_pool": 2,
    },
    *((8, 8, 2), (8, 8, 1)),
  ),
  "image_cinn": (
    {"hidden": (4, 4), "depths": (2, 2), "condition_channels": (4, 4)},
    *((8, 8, 3), (8, 8, 1)),
  ),
  "imagenet_colorization": ({"width": 8}, (64, 64, 2), (256, 256, 1)),
  "realnvp": ({"levels": 1, "hidden": 4, "blocks": 1}, (4, 4, 3), (10,)),
  "srflow": (
    {
      "levels": 2,
      "depth": 2,
      "hidden": 4,
      "blocks": 1,
      "taps": (0,),
      "encoder_width": 4,
      "encoder_growth": 4,
    },
    *((8, 8, 3), (4, 4, 3)),
  ),
  "vector_flow": ({"dim": 4, "blocks": 2, "hidden": (4,)}, (4,), (3,)),
}


# Has no stack, whose memory there would be a policy for.
STACKED = [name for name in SMALL if name != "realnvp"]


def test_every_model_is_here():
  assert set(models.BUILDERS) == set(SMALL) - {"vector_flow"}


def _build(name, **options):
  settings = {**SMALL[name][0], **options}
  if name == "vector_flow":
    return vector_flow(**settings)
  return build_model(name, **settings)


def _stacks(part):
  """Every stack in what a flow is made of."""
  if isinstance(part, bj.Stack):
    yield part
  if isinstance(part, nn.Module):
    fields = {field.name for field in dataclasses.fields(part)} - {"parent"}
    part = [getattr(part, name, None) for name in sorted(fields)]
  if isinstance(part, list | tuple):
    for inner in part:
      yield from _stacks(inner)


@pytest.mark.parametrize("name", STACKED)
def test_a_memory_policy_reaches_every_stack(name):
  policies = [
    [stack.memory for stack in _stacks(_build(name, **options))]
    for options in ({}, {"memory": "remat"})
  ]
  assert policies[0]
  assert policies == [
    ["store"] * len(policies[0]),
    ["remat"] * len(policies[1]),
  ]


def _traced(name, **options):
  """(what forward returns, all variables, its jaxpr), of shapes alone."""
  model = _build(name, **options)
  x, cond = (
    jax.ShapeDtypeStruct((2, *shape), jnp.float32) for shape in SMALL[name][1:]
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(model.init, key, x, cond)
  run = functools.partial(model.apply, mutable=["diagnostics"])
  jaxpr, out = jax.make_jaxpr(run, return_shape=True)(variables, x, cond)
  return out, variables, jaxpr.jaxpr


def _equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jaxprs_in_params(equation.params):
      yield from _equations(inner)


def _dtypes(equations, *names):
  """Of the first inputs of the primitives of these names."""
  return {
    str(equation.invars[0].aval.dtype)
    for equation in equations
    if equation.primitive.name in names
  }


@pytest.mark.parametrize("name", SMALL)
def test_networks_compute_in_half_precision_and_the_rest_in_single(name):
  out, variables, jaxpr = _traced(name, compute_dtype="bfloat16")
  equations = list(_equations(jaxpr))
  # Products; and heads, clamps, sums and results.
  products = ("dot_general", "conv_general_dilated", "cpu_conv")
  assert "bfloat16" in _dtypes(equations, *products)
  assert _dtypes(equations, "exp", "atan", "log", "logistic") == {"float32"}
  leaves = jax.tree.leaves((out, variables))
  dtypes = {leaf.dtype.name for leaf in leaves}
  assert dtypes <= {"float32", "int32"}


def test_float32_is_the_default():
  _, _, jaxpr = _traced("dense_cinn")
  dtypes = {v.aval.dtype.name for e in _equations(jaxpr) for v in e.outvars}
  assert "bfloat16" not in dtypes


@pytest.mark.parametrize("option", ["memory", "compute_dtype"])
def test_unknown_names_are_refused(option):
  with pytest.raises(ValueError, match=r"'float8'; there are [\w, ]+\."):
    _traced("dense_cinn", **{option: "float8"})


NET = functools.partial(
  Subnet, widths=(32,), kernels=(3, 1), dtype=jnp.bfloat16
)


def _round_trip(bijection, scale):
  """The largest error, and how far bfloat16 takes z from float32's."""
  x, cond = normal(0, (8, 8, 8, 4), np.float32), normal(1, (8, 8, 8, 3))
  cond = cond.astype(np.float32)
  variables = draw_variables(bijection, 2, x, cond, scale)
  z, log_det = jax.jit(bijection.apply)(variables, x, cond)
  inverse = functools.partial(bijection.apply, method="inverse")
  back, inverse_log_det = jax.jit(inverse)(variables, z, cond)
  return (
    np.abs(back - x).max(),
    np.abs(log_det + inverse_log_det).max() / np.abs(log_det).max(),
  )


def test_a_network_that_sees_the_same_makes_the_same():
  # The passive half is kept as it is, so both directions round alike.
  error, log_det_error = _round_trip(bj.AffineCoupling(NET, sides=1), 0.1)
  assert 0 < error < 1e-5
  assert log_det_error < 1e-6


def test_the_round_trip_of_many_couplings_is_within_half_precision():
  # The second network of a coupling sees its input rebuilt in float32: where
  # that rounds to another bfloat16, it makes something else.
  block = bj.Chain((bj.AffineCoupling(NET), bj.Orthogonal()))
  error, log_det_error = _round_trip(bj.Stack(block, 8), 0.05)
  half = float(jnp.finfo(jnp.bfloat16).eps)
  assert 1e-5 < error < 4 * half
  assert log_det_error < half
