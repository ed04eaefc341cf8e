"""Subnets compared with plain products on concatenated inputs."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_like, normal

U = normal(0, (2, 4, 4, 3), np.float32)
COND = {
  "map": normal(1, (2, 4, 4, 5), np.float32),
  "vector": normal(2, (2, 6), np.float32),
}


def _apply(net, u, cond):
  variables = jax.eval_shape(lambda: net.init(jax.random.key(0), u, cond, 7))
  params = draw_like(variables["params"], 3, np.float32, scale=0.3)
  return params, net.apply({"params": params}, u, cond, 7)


def _concatenated(u, cond):
  """Returns the condition as channels of the pixels of `u`, map first."""
  vector = np.broadcast_to(cond["vector"][:, None, None], (2, 4, 4, 6))
  return np.concatenate([cond["map"], vector], -1)


@pytest.mark.parametrize("densely_connected", [False, True])
def test_1x1_layers_match_concatenated_inputs(densely_connected):
  net = Subnet((8, 9), (1, 1, 1), nn.tanh, densely_connected=densely_connected)
  params, out = _apply(net, U, COND)
  condition = _concatenated(U, COND)
  layer_input = U
  for k in range(3):
    layer = params[f"layer_{k}"]
    hidden = layer_input @ layer["kernel"][0, 0] + layer["bias"]
    names = [
      f"condition_{i}" if k == 0 else f"layer_{k}_condition_{i}" for i in (0, 1)
    ]
    assert all(name in params for name in names) == (
      k == 0 or densely_connected
    )
    if k == 0 or densely_connected:
      weights = [params[name]["kernel"][0, 0] for name in names]
      hidden = hidden + condition @ np.concatenate(weights)
    hidden = np.tanh(hidden) if k < 2 else hidden
    layer_input = (
      np.concatenate([layer_input, hidden], -1) if densely_connected else hidden
    )
  np.testing.assert_allclose(out, hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("densely_connected", [False, True])
def test_vector_equals_a_constant_map(densely_connected):
  for kernels in ((1, 3), (3, 1)):
    net = Subnet((8,), kernels, densely_connected=densely_connected)
    params, out = _apply(net, U, COND["vector"])
    as_map = np.broadcast_to(COND["vector"][:, None, None], (2, 4, 4, 6))
    expected = net.apply({"params": params}, U, as_map, 7)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_uniform_init_counts_all_inputs():
  net = Subnet(
    (50,),
    (1, 1),
    uniform_init=True,
    zero_last=False,
    densely_connected=True,
  )
  key = jax.random.key(0, impl="rbg")  # compiles fast
  params = net.init(key, U, COND, 7)["params"]
  for name, inputs in (
    ("layer_0", 3 + 11),
    ("layer_1", 3 + 11 + 50),
    ("layer_1_condition_1", 3 + 11 + 50),
  ):
    largest = np.abs(params[name]["kernel"]).max()
    assert 0.8 < largest * np.sqrt(inputs) <= 1


@pytest.mark.parametrize(
  "options, variance",
  [({"uniform_init": True}, 1 / 3), ({}, 1), ({"init_std": 0.1}, None)],
  ids=["uniform", "lecun", "std"],
)
@pytest.mark.parametrize("conditions", [0, 1, 2])
def test_layer_0_starts_at_one_variance(options, variance, conditions):
  """As if data and conditions were concatenated, however many there are."""
  u, *cond = (
    normal(k, (8, 10, 10, channels), np.float32)
    for k, channels in zip(range(conditions + 1), (6, 12, 24), strict=False)
  )
  net = Subnet((), (3,), zero_last=False, **options)
  key = jax.random.key(0, impl="rbg")  # compiles fast
  variables = jax.jit(net.init, static_argnums=3)(key, u, cond, 256)
  layer_0 = jax.jit(net.apply, static_argnums=3)(variables, u, cond, 256)
  inputs = 9 * sum(leaf.shape[-1] for leaf in (u, *cond))
  if variance is None:
    expected = (inputs + 1) * 0.1**2
  else:
    bias = 1 / (3 * inputs) if "uniform_init" in options else 0.0
    expected = variance + bias
  # Away from the padding.
  got = np.mean(np.square(layer_0[:, 1:-1, 1:-1]))
  np.testing.assert_allclose(got, expected, rtol=0.05)
