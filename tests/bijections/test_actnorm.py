"""ActNorm's initial values: from data if there are data, else the identity."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import normal

CONV = functools.partial(
  Subnet, widths=(4,), kernels=(3, 3), init_std=0.5, zero_last=False
)
MEAN, STD = np.array([3.0, -2.0, 0.0, 70.0]), np.array([0.1, 5.0, 1.0, 1e-2])


def _data(seed, *shape):
  return (normal(seed, shape) * STD + MEAN).astype(np.float32)


def _init(bijection, *inputs, **options):
  init = jax.jit(functools.partial(bijection.init_with_output, **options))
  return init(jax.random.key(0, impl="rbg"), *inputs)


def _assert_standard(z, atol=1e-2):
  flat = np.asarray(z, np.float64).reshape(-1, z.shape[-1])
  np.testing.assert_allclose(flat.mean(0), 0, atol=atol)
  np.testing.assert_allclose(flat.std(0), 1, atol=atol)


@pytest.mark.parametrize("shape", [(16, 3, 5, 4), (64, 4), (2, 8, 8, 4)])
def test_first_batch_comes_out_standard(shape):
  x = _data(0, *shape)
  (z, log_det), variables = _init(bj.ActNorm(), x)
  _assert_standard(z)
  params = variables["params"]
  axes = tuple(range(x.ndim - 1))
  np.testing.assert_allclose(params["bias"], -x.mean(axes), atol=1e-4)
  log_std = np.log(np.asarray(x, np.float64).std(axes))
  np.testing.assert_allclose(params["log_scale"], -log_std, atol=1e-2)
  positions = np.prod(shape[1:-1], dtype=int)
  np.testing.assert_allclose(log_det, -positions * log_std.sum(), rtol=1e-3)


def test_statistics_far_from_zero_are_exact():
  x = (normal(1, (64, 8, 8, 1)) + 1000).astype(np.float32)
  (z, _), _ = _init(bj.ActNorm(), x)
  _assert_standard(z, atol=1e-4)


def test_half_precision_data_get_float32_statistics():
  x = jnp.asarray(_data(2, 16, 4, 4, 4)[..., :3], jnp.bfloat16)
  (z, log_det), variables = _init(bj.ActNorm(), x)
  assert z.dtype == log_det.dtype == jnp.float32
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
    jnp.dtype("float32")
  }
  _assert_standard(z, atol=1e-4)


@pytest.mark.parametrize(
  "x",
  [
    np.full((1, 4, 4, 3), 0.1, np.float32),
    np.full((8, 4, 4, 3), 0.1, np.float32),
    np.full((8, 3), 1e6 / 3, np.float32),
    normal(3, (1, 3), np.float32),
  ],
  ids=["one_image", "images", "vectors", "one_vector"],
)
def test_constant_batch_sets_only_the_bias(x):
  (z, log_det), variables = _init(bj.ActNorm(), x)
  np.testing.assert_array_equal(variables["params"]["log_scale"], 0)
  mean = x.reshape(-1, 3).mean(0)
  np.testing.assert_allclose(variables["params"]["bias"], -mean, rtol=1e-6)
  np.testing.assert_allclose(z, 0, atol=1e-6 * np.abs(x).max())
  np.testing.assert_array_equal(log_det, 0)


def test_zeros_give_the_identity():
  (_, _), variables = _init(bj.ActNorm(), jnp.zeros((1, 4, 4, 3)))
  for leaf in jax.tree.leaves(variables):
    np.testing.assert_array_equal(leaf, 0)


def test_constant_channel_does_not_affect_others():
  x = normal(4, (16, 4, 4, 3), np.float32) * 7
  x[..., 1] = -2.5
  (z, _), variables = _init(bj.ActNorm(), x)
  assert variables["params"]["log_scale"][1] == 0
  np.testing.assert_allclose(z[..., 1], 0, atol=1e-6)
  _assert_standard(z[..., ::2], atol=1e-4)


def test_padding_of_zeros_does_not_count_as_data():
  """Checks equal examples that padding makes vary over positions."""
  x = jnp.zeros((3, 8, 8, 4))
  chain = bj.Chain((bj.AffineCoupling(CONV), bj.ActNorm()))
  (z, _), variables = _init(chain, x)
  assert np.abs(z - z[:1, :1, :1]).max() > 1e-3
  np.testing.assert_array_equal(variables["params"]["parts_1"]["log_scale"], 0)


def test_inverse_initialises_the_identity():
  z = _data(5, 8, 2, 2, 4)
  (x, _), variables = _init(bj.ActNorm(), z, method="inverse")
  np.testing.assert_array_equal(x, z)
  for leaf in jax.tree.leaves(variables):
    np.testing.assert_array_equal(leaf, 0)


def test_restored_values_are_kept():
  """Checks that the first batch after a restore changes no parameter."""
  actnorm = bj.ActNorm()
  params = {"bias": jnp.full(4, 2.0), "log_scale": jnp.full(4, np.log(3.0))}
  x = _data(6, 8, 2, 2, 4)
  run = functools.partial(actnorm.apply, mutable=True)
  (z, _), variables = run({"params": params}, x)
  np.testing.assert_allclose(z, 3 * (x + 2), rtol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, variables["params"], params)


def test_in_a_stack_each_sees_data_at_its_depth():
  depth = 3
  block = bj.Chain((bj.ActNorm(), bj.AffineCoupling(CONV), bj.Orthogonal()))
  x = _data(7, 32, 4, 4, 4)
  (z, _), variables = _init(bj.Stack(block, depth), x)
  value, log_scales = x, []
  for k in range(depth):
    own = {
      name: jax.tree.map(lambda leaf, k=k: leaf[k], tree["block"])
      for name, tree in variables.items()
    }
    actnorm = {"params": own["params"]["parts_0"]}
    _assert_standard(jax.jit(bj.ActNorm().apply)(actnorm, value)[0])
    log_scales.append(own["params"]["parts_0"]["log_scale"])
    value, _ = jax.jit(block.apply)(own, value)
  np.testing.assert_allclose(value, z, rtol=1e-4, atol=1e-4)
  assert np.abs(log_scales[1] - log_scales[2]).max() > 0.01


ON_TWO_DEVICES = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from cinn_jax import bijections as bj
from cinn_jax.runtime import sharding

x = np.arange(96, dtype=np.float32).reshape(8, 2, 2, 3) ** 2
mesh = sharding.make_mesh()
assert mesh.devices.size == 2
batch = sharding.put_batch(x, mesh)
assert len(batch.sharding.device_set) == 2
init = jax.jit(bj.ActNorm().init, out_shardings=sharding.replicated(mesh))
params = init(jax.random.key(0), batch)["params"]
flat = x.reshape(-1, 3).astype(np.float64)
np.testing.assert_allclose(params["bias"], -flat.mean(0), rtol=1e-5)
np.testing.assert_allclose(params["log_scale"], -np.log(flat.std(0)), rtol=1e-5)
print("same as on one device")
"""


def test_statistics_cover_all_devices():
  process = subprocess.run(
    [sys.executable, "-c", ON_TWO_DEVICES],
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  assert process.stdout == "same as on one device\n", process.stderr
