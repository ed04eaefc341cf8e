"""CAFLOW and its relatives: exact likelihoods and dependencies of scales."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import likelihood
from tests.support import pairs, slow
from tests.support.drawing import normal

# One channel keeps the Jacobian small; the condition's second one is a mask.
X, COND = pairs.images(0, (2, 8, 16, 1)), pairs.images(1, (2, 8, 16, 2))


def _flat(tree):
  leaves = jax.tree.leaves(tree)
  return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], -1)


# "dual_glow_plus" is a part of "caflow", as tested below.
@pytest.mark.parametrize(
  "kind", slow.all_but(("caflow", "dual_glow"), pairs.KINDS)
)
def test_round_trip_and_log_det(kind):
  model = pairs.make(kind, channels=1, condition_channels=1)
  variables = pairs.draw(model, 7, X, COND)

  @jax.jit
  def run(variables, x, cond):
    def forward(x):
      z, log_det = model.apply(variables, x, cond)
      return _flat(z)[0], (z, log_det)

    jacobian, (z, log_det) = jax.jacfwd(forward, has_aux=True)(x)
    back, minus = model.apply(variables, z, cond, method="inverse")
    return jacobian, z, log_det, back, minus

  jacobian, z, log_det, back, minus = run(variables, X, COND)
  assert _flat(z).shape == (2, 128)
  np.testing.assert_allclose(back, X, atol=1e-9)
  np.testing.assert_allclose(minus, -log_det, rtol=1e-9)
  dense = np.asarray(jacobian).reshape(128, 2, 128)
  expected = np.linalg.slogdet(dense[:, 0])[1]
  np.testing.assert_allclose(log_det[0], expected, atol=1e-8)
  np.testing.assert_array_equal(dense[:, 1], 0)


def test_reconstruction_errors_are_rounding_errors():
  model = pairs.make("dual_glow", channels=1, condition_channels=1)
  variables = pairs.draw(model, 7, X, COND)
  apply = functools.partial(model.apply, method="reconstruction_errors")
  errors = jax.jit(apply)(variables, X, COND)
  assert sorted(errors) == [
    "condition_flow",
    "latent_flows",
    "round_trip",
    "target_flow",
  ]
  for error in errors.values():
    assert error.shape == (2,)
    assert 0 < np.max(error) < 1e-9


def _latents(levels):
  """Draws L and the conditions (D_k, side_k) for `levels` of a 16x32 image."""
  last = levels - 1
  shapes = [
    (16 >> (k + 1), 32 >> (k + 1), 2 ** (k + (2 if k == last else 1)))
    for k in range(levels)
  ]
  latents = tuple(normal(k, (2, *shape)) for k, shape in enumerate(shapes))
  conditions = tuple(
    (normal(10 + k, (2, *shape)), normal(20 + k, (2, *shape[:2], 4)))
    for k, shape in enumerate(shapes)
  )
  return latents, conditions


@functools.cache
def _latent_flows(kind, levels=2, **options):
  """Returns (the latent flows of a model, their variables)."""
  flows = pairs.make(kind, levels=levels, channels=1, **options).latent_flows
  return flows, pairs.draw(flows, 8, *_latents(levels))


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_a_scale_depends_on_itself_and_coarser_ones(kind):
  flows, variables = _latent_flows(kind)
  latents, conditions = _latents(2)
  run = jax.jit(lambda *arguments: flows.apply(variables, *arguments)[0])
  z = run(latents, conditions)
  for changed in range(2):

    def shift(tree, changed=changed):
      entry = jax.tree.map(lambda leaf: leaf + 0.5, tree[changed])
      return (*tree[:changed], entry, *tree[changed + 1 :])

    for arguments in (shift(latents), conditions), (latents, shift(conditions)):
      after = run(*arguments)
      for (k, m), before, now in zip(flows.keys(), z, after, strict=True):
        differs = np.abs(before - now).max()
        coarser = k < changed <= m and kind.startswith("caflow")
        if k == changed or coarser:
          assert differs > 1e-3, (changed, k, m)
        else:
          assert differs == 0, (changed, k, m)


@pytest.mark.slow
def test_shared_blocks_equal_separate_calls():
  options = {"levels": 3, "latent_depths": (1, 1)}
  shared, variables = _latent_flows("caflow_shared", **options)
  plain, _ = _latent_flows("caflow", **options)
  copied = dict(variables["params"])
  for m in (1, 2):
    block = copied[f"others_{m - 1}"]["bijection"]
    copied[f"others_{m - 1}"] = {f"parts_{k}": block for k in range(m)}

  @jax.jit
  def both(*arguments):
    results = []
    for flows, params in (shared, variables["params"]), (plain, copied):
      z, log_det = flows.apply({"params": params}, *arguments)
      # Latents that are not the image of L.
      z = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), z)
      back = flows.apply({"params": params}, z, arguments[1], method="inverse")
      results.append((z, log_det, back))
    return results

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
    *both(*_latents(3)),
  )


def test_caflow_without_coarser_scales_is_dual_glow_plus():
  caflow, variables = _latent_flows("caflow")
  plus, _ = _latent_flows("dual_glow_plus")
  params = variables["params"]

  def mute(path, leaf):
    """Returns rotations, which do not change the prior, and zeros otherwise."""
    if path[-1].key != "matrix":
      return jnp.zeros_like(leaf)
    return np.linalg.qr(normal(4, leaf.shape))[0]

  others = jax.tree.map_with_path(mute, params["others_0"])
  own = {name: params[name] for name in params if name.startswith("own")}
  arguments = _latents(2)
  with_others, without = (
    likelihood.log_prob(*flows.apply({"params": each}, *arguments)).total
    for flows, each in ((caflow, {**own, "others_0": others}), (plus, own))
  )
  np.testing.assert_allclose(with_others, without, rtol=1e-10)
