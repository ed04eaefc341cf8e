"""The flow for vectors: its contract, its parts and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.models.networks.summary_nets import SeriesNet, SetNet, VectorNet
from cinn_jax.models.vector_flow import vector_flow
from tests.support import slow
from tests.support.drawing import draw_variables, normal

SMALL = {"blocks": 2, "hidden": (8,)}


def _cond(shape):
  return normal(1, shape, np.float32)


CONDITIONS = {
  "none": (None, None),
  "as_it_is": (None, _cond((3, 4))),
  "vector": (VectorNet(), _cond((3, 4))),
  "set": (
    SetNet(),
    {"values": _cond((3, 5, 2)), "mask": np.tri(3, 5, 2, dtype=bool)},
  ),
  "series": (SeriesNet(), _cond((3, 5, 2))),
}


@pytest.mark.parametrize("name", slow.all_but(["set"], CONDITIONS))
def test_round_trip_and_log_det(name):
  mixing = "permutation" if name == "as_it_is" else "orthogonal"
  net, cond = CONDITIONS[name]
  module = vector_flow(3, mixing=mixing, condition_net=net, **SMALL)
  x = normal(0, (3, 3), np.float32)
  variables = draw_variables(module, 2, x, cond)
  flow = make_flow(module, (3,))
  z, log_det = jax.jit(flow.forward)(variables, x, cond)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, cond)
  np.testing.assert_allclose(back, x, atol=1e-3)
  np.testing.assert_allclose(minus_log_det, -log_det, atol=5e-4)

  def one(x, cond):
    batch = jax.tree.map(lambda leaf: leaf[None], (x, cond))
    return flow.forward(variables, *batch)[0][0]

  jacobian = jax.jit(jax.vmap(jax.jacfwd(one)))(x, cond)
  expected = np.linalg.slogdet(np.asarray(jacobian))[1]
  np.testing.assert_allclose(log_det, expected, atol=5e-4)
  assert np.abs(log_det).min() > 1e-3
  if cond is not None:
    other = jax.tree.map(lambda leaf: leaf[::-1], cond)
    moved, _ = jax.jit(flow.forward)(variables, x, other)
    assert np.abs(moved - z)[[0, 2]].max() > 1e-3


@pytest.mark.parametrize("coupling", ["spline", "affine"])
def test_starts_as_a_permutation(coupling):
  module = vector_flow(4, coupling=coupling, linear_start=False, **SMALL)
  flow = make_flow(module, (4,))
  x = normal(0, (5, 4), np.float32)
  z, log_det = flow.forward(jax.jit(flow.init)(jax.random.key(0), x), x)
  np.testing.assert_allclose(log_det, 0, atol=1e-5)
  np.testing.assert_allclose(np.sort(z, 1), np.sort(x, 1), rtol=1e-5)
  assert np.abs(z - x).max() > 0.1


def test_starts_as_a_linear_gaussian_model():
  cond = normal(0, (400, 2), np.float32)
  noise = normal(1, (400, 3), np.float32)
  x = cond @ np.float32([[1, 0, 2], [0, -1, 1]]) + 0.1 * noise + 7
  flow = make_flow(vector_flow(3, **SMALL), (3,))
  variables = jax.jit(flow.init)(jax.random.key(0), x, cond)
  log_prob = np.asarray(flow.log_prob(variables, x, cond).total).mean()
  entropy = 3 * (0.5 * np.log(2 * np.pi * np.e) + np.log(0.1))
  np.testing.assert_allclose(log_prob, -entropy, atol=0.1)


def test_blocks_and_widths():
  module = vector_flow(
    4,
    blocks=5,
    hidden=(6, 7),
    coupling="affine",
    condition_net=VectorNet(),
  )
  args = jnp.zeros((1, 4)), jnp.zeros((1, 3))
  params = jax.eval_shape(module.init, jax.random.key(0), *args)["params"]
  net = params["bijection"]["parts_1"]["block"]["parts_0"]["net_1"]
  shapes = {name: layer["kernel"].shape for name, layer in net.items()}
  assert shapes == {
    "layer_0": (5, 2, 6),
    "condition_0": (5, 20, 6),
    "layer_1": (5, 6, 7),
    "layer_2": (5, 7, 4),
  }
  assert set(params) == {"bijection", "condition_net"}
  # The features are not regressed on.
  assert set(params["bijection"]["parts_0"]) == {"bias", "log_scale", "mixing"}


def test_hidden_layers_start_uniform():
  flow = make_flow(vector_flow(4, blocks=6, hidden=(64, 64)), (4,))
  x, cond = jnp.zeros((1, 4)), jnp.zeros((1, 7))
  params = jax.jit(flow.init)(jax.random.key(0), x, cond)["params"]
  net = params["bijection"]["parts_1"]["block"]["parts_0"]["net_1"]
  # Inputs: two numbers of x and seven of the condition, then hidden units.
  starts = [
    (net["layer_0"]["kernel"], 9),
    (net["layer_0"]["bias"], 9),
    (net["condition_0"]["kernel"], 9),
    (net["layer_1"]["kernel"], 64),
    (net["layer_1"]["bias"], 64),
  ]
  for values, inputs in starts:
    scaled = np.asarray(values) * np.sqrt(inputs)
    assert 0.95 < np.abs(scaled).max() <= 1
    np.testing.assert_allclose(scaled.std(), 1 / np.sqrt(3), atol=0.06)
    np.testing.assert_allclose(scaled.mean(), 0, atol=0.12)
  assert not any(np.any(leaf) for leaf in net["layer_2"].values())


def test_networks_see_far_numbers_compressed():
  flow = make_flow(vector_flow(2, **SMALL), (2,))
  assert "TamedSubnet" in repr(flow.module)
  variables = draw_variables(flow.module, 0, np.zeros((1, 2), np.float32))
  far = np.float32([[30.0, -30.0], [300.0, -300.0]])
  reports = flow.module.apply(variables, far, mutable=["diagnostics"])[1]
  assert jax.tree.leaves(reports)
  near = np.float32([[2.0, -2.0], [2.5, 1.0]])
  for x in (near, far):
    z, _ = flow.forward(variables, x)
    back, _ = flow.inverse(variables, z)
    np.testing.assert_allclose(back, x, rtol=1e-3, atol=1e-4)


def test_wrong_settings_raise():
  for settings, message in (
    ({"mixing": "none"}, "there are permutation, orthogonal"),
    ({"coupling": "none"}, "Unknown coupling 'none'; there are spline, affine"),
    ({"blocks": 0}, "blocks must be a whole number above 0, got 0"),
    ({"hidden": 64}, "hidden must be a sequence of widths"),
    ({"hidden": (8, 0)}, "a width in hidden must be a whole number"),
  ):
    with pytest.raises(ValueError, match=message):
      vector_flow(2, **settings)
  with pytest.raises(ValueError, match="dim must be a whole number above 0"):
    vector_flow(0)
