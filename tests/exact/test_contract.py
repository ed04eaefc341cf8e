"""Every bijection of the registry through one recipe, in float64."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.bijections.registry import CASES

BATCH = 2
NAMES = sorted(CASES)
CONDITIONAL = [name for name in NAMES if CASES[name].cond is not None]


def _normal(seed, shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def _draw_cond(seed, shapes):
  leaves, tree = jax.tree.flatten(shapes, is_leaf=_is_shape)
  drawn = [_normal(seed + i, (BATCH, *leaf)) for i, leaf in enumerate(leaves)]
  return jax.tree.unflatten(tree, drawn)


def _is_shape(node):
  return isinstance(node, tuple) and all(isinstance(n, int) for n in node)


def _cast(tree):
  def cast(leaf):
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if is_float else leaf

  return jax.tree.map(cast, tree)


@functools.cache
def _case(name):
  """(bijection, variables with randomized parameters, x, cond)."""
  bijection, shape, cond_shapes = CASES[name]
  seed = zlib.crc32(name.encode()) % 10_000
  x = _normal(seed, (BATCH, *shape))
  cond = None
  if cond_shapes is not None:
    cond = _draw_cond(seed + 1, cond_shapes)
  # This generator compiles in a fraction of the default one's time.
  key = jax.random.key(seed + 9, impl="rbg")
  variables = jax.jit(bijection.init)(key, x, cond)
  variables = {k: _cast(v) for k, v in variables.items() if k != "diagnostics"}
  params, tree = jax.tree.flatten(variables.get("params", {}))
  params = [
    p + 0.3 * _normal(seed + 20 + i, p.shape) for i, p in enumerate(params)
  ]
  if params:
    variables["params"] = jax.tree.unflatten(tree, params)
  return bijection, variables, x, cond


@functools.cache
def _jitted(name, method):
  return jax.jit(functools.partial(CASES[name].bijection.apply, method=method))


def _run(name, method, value=None, cond="own", variables=None):
  _, own_variables, x, own_cond = _case(name)
  return _jitted(name, method)(
    own_variables if variables is None else variables,
    x if value is None else value,
    own_cond if isinstance(cond, str) else cond,
  )


def _like(z, seed):
  leaves, tree = jax.tree.flatten(z)
  drawn = [_normal(seed + i, leaf.shape) for i, leaf in enumerate(leaves)]
  return jax.tree.unflatten(tree, drawn)


def _assert_close(actual, expected, atol):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=atol, atol=atol),
    actual,
    expected,
  )


def _flat(tree):
  """Examples as vectors: [B, D]."""
  leaves = jax.tree.leaves(tree)
  return jnp.concatenate([leaf.reshape(BATCH, -1) for leaf in leaves], -1)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_from_data(name):
  z, log_det = _run(name, "forward")
  x, inverse_log_det = _run(name, "inverse", z)
  _assert_close(x, _case(name)[2], 1e-9)
  _assert_close(inverse_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_from_latents(name):
  z = _like(_run(name, "forward")[0], 77)
  x, log_det = _run(name, "inverse", z)
  z_again, forward_log_det = _run(name, "forward", x)
  _assert_close(z_again, z, 1e-9)
  _assert_close(forward_log_det, -log_det, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_log_det_is_the_dense_jacobians(name):
  x = _case(name)[2]

  def flat_forward(flat):
    return _flat(_run(name, "forward", flat.reshape(x.shape))[0])

  jacobian = jax.jacfwd(flat_forward)(_flat(x))  # [B, D, B, D]
  log_det = _run(name, "forward")[1]
  assert log_det.shape == (BATCH,)
  for b in range(BATCH):
    expected = np.linalg.slogdet(jacobian[b, :, b])[1]
    np.testing.assert_allclose(log_det[b], expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(jacobian[b, :, 1 - b], 0)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_jit_changes_nothing(name, direction):
  bijection, variables, value, cond = _case(name)
  if direction == "inverse":
    value = _run(name, "forward")[0]
  eager = bijection.apply(variables, value, cond, method=direction)
  _assert_close(_run(name, direction, value), eager, 1e-10)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_every_part_of_the_condition_matters(name):
  bijection, _, _, cond = _case(name)
  z, _ = _run(name, "forward")
  leaves, tree = jax.tree.flatten(cond)
  hidden = {0} if name == "conditioned" else set()  # key 1 alone is seen
  for i, leaf in enumerate(leaves):
    changed = [*leaves[:i], leaf + 1.0, *leaves[i + 1 :]]
    cond = jax.tree.unflatten(tree, changed)
    difference = jnp.abs(_flat(_run(name, "forward", cond=cond)[0]) - _flat(z))
    assert (difference.max() > 1e-3) == (i not in hidden)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_condition_may_be_left_out(name):
  if name in ("conditioned", "multi_scale"):
    pytest.skip("names an entry of the condition")
  bijection, _, x, _ = _case(name)
  variables = jax.jit(bijection.init)(jax.random.key(0, impl="rbg"), x)
  z, _ = _jitted(name, "forward")(variables, x)
  back, _ = _jitted(name, "inverse")(variables, z)
  _assert_close(back, x, 1e-9)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_reach_every_parameter(name, direction):
  _, variables, x, cond = _case(name)
  value = x if direction == "forward" else _run(name, "forward")[0]

  def loss(params, value, cond):
    own = {**variables, "params": params}
    out, log_det = _run(name, direction, value, cond, own)
    return jnp.sum(_flat(out) ** 2) + jnp.sum(jnp.sin(log_det))

  params = variables.get("params", {})
  gradients = jax.grad(loss, argnums=(0, 1, 2))(params, value, cond)
  for leaf in jax.tree.leaves(gradients):
    assert np.isfinite(leaf).all()
  for leaf in jax.tree.leaves(gradients[:2]):
    assert np.abs(leaf).max() > 0


def test_stack_equals_its_blocks_in_order():
  bijection, variables, x, cond = _case("stack")
  expected, total = x, 0.0
  for k in range(bijection.depth):
    block = {
      name: jax.tree.map(lambda leaf, k=k: leaf[k], tree["block"])
      for name, tree in variables.items()
    }
    expected, log_det = bijection.block.apply(block, expected, cond)
    total += log_det
  z, log_det = _run("stack", "forward")
  _assert_close(z, expected, 1e-12)
  _assert_close(log_det, total, 1e-12)
