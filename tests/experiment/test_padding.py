"""Weights that only meet padding, counted and compared with gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.experiment.build import abstract_cond, abstract_variables, build
from cinn_jax.experiment.describe import describe
from cinn_jax.experiment.padding import weights_on_padding
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.subnets import Subnet
from configs import super_resolution
from tests.support.drawing import draw_like, normal


@pytest.mark.parametrize(
  "argument, idle",
  [
    ("dual_glow_plus", 4_325_376),
    ("dual_glow_plus,size=64", 0),
    pytest.param("caflow", 17_891_328, marks=pytest.mark.slow),
    pytest.param("caflow,size=64", 0, marks=pytest.mark.slow),
  ],
)
def test_published_networks(argument, idle):
  flow, task = build(super_resolution.get_config(argument))
  variables = abstract_variables(flow, task)
  x = jax.ShapeDtypeStruct((1, *task.event_shape), jnp.float32)
  assert weights_on_padding(flow, variables, x, abstract_cond(task)) == idle


@pytest.mark.parametrize(
  "scanned", [True, pytest.param(False, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("height", [1, 2, 3])
def test_they_are_the_ones_without_a_gradient(height, scanned):
  """Checks kernels of 3 and 5, strides, and blocks scanned or apart."""
  # A ReLU would switch off some more.
  net = functools.partial(
    Subnet, (3,), (5, 3), activation=jnp.tanh, zero_last=False
  )
  stack = bj.Stack(bj.AffineCoupling(net), 2, scanned=scanned)
  module = ConditionalFlow(
    bj.Conditioned(stack, "level_0"),
    Pyramid((((3, 2), (3, 1)),), negative_slope=0.5),
  )
  flow = make_flow(module, (height, 4, 2))
  x = normal(0, (5, height, 4, 2), np.float32)
  cond = normal(1, (5, 2 * height, 8, 1), np.float32)
  variables = flow.init(jax.random.key(0), x, cond)
  params = draw_like(variables["params"], 2, np.float32, scale=0.5)
  gradient = jax.jit(
    jax.grad(
      lambda params: flow.log_prob({"params": params}, x, cond).total.sum()
    )
  )(params)
  kernels = [leaf for leaf in jax.tree.leaves(gradient) if leaf.ndim > 3]
  idle = sum(int(np.sum(np.asarray(kernel) == 0)) for kernel in kernels)
  assert weights_on_padding(flow, variables, x, cond) == idle
  assert (idle > 0) == (height < 3)


@pytest.mark.slow
def test_description_says_so():
  config = super_resolution.get_config("dual_glow,recipe=small,size=8")
  config.model.depth = 1
  text = describe(config)
  assert "never trained" in text and "fewer levels" in text
