"""Formulas of each kind of coupling, and which kinds preserve volume."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from tests.support.drawing import draw_variables, normal

DENSE = functools.partial(Subnet, widths=(5,), kernels=(1, 1))
CONV = functools.partial(Subnet, widths=(4,), kernels=(3, 1))
POINTWISE = functools.partial(Subnet, widths=(4,), kernels=(1, 1))
ALPHA = 0.8


def _draw(coupling, shape, cond_shape, scale=0.5):
  x = normal(0, shape, np.float32)
  cond = normal(1, cond_shape, np.float32)
  return draw_variables(coupling, 2, x, cond, scale), x, cond


def _additive(net, passive, active):
  return active + net((), passive, active.shape[-1]), 0.0


def _real_nvp(net, passive, active):
  scale = net(("scale",), passive, active.shape[-1])
  scale = bj.CLAMPS["cinn_paper"](scale, ALPHA)
  shift = net(("shift",), passive, active.shape[-1])
  return active * jnp.exp(scale) + shift, scale.sum(-1)


def _gin(net, passive, active):
  n = active.shape[-1]
  head = net((), passive, 2 * n)
  scale = bj.CLAMPS["cinn_paper"](head[:, :n], ALPHA)
  scale -= scale.sum(-1, keepdims=True) / n
  return active * jnp.exp(scale) + head[:, n:], 0.0


KINDS = {
  "additive": (bj.AdditiveCoupling, {}, _additive),
  "real_nvp": (bj.RealNVPCoupling, {"alpha": ALPHA}, _real_nvp),
  "gin": (bj.GINCoupling, {"alpha": ALPHA}, _gin),
}


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_coupling_formula(kind, sides):
  """Checks that net_2 reads the second half and runs first."""
  make, options, formula = KINDS[kind]
  coupling = make(DENSE, sides=sides, **options)
  variables, x, cond = _draw(coupling, (2, 5), (2, 3))

  def network(name):
    def run(path, passive, features):
      params = variables["params"][name]
      for key in path:
        params = params[key]
      apply = jax.jit(DENSE().apply, static_argnums=3)
      return apply({"params": params}, passive, cond, features)

    return run

  first, second, expected = x[:, :2], x[:, 2:], jnp.zeros(2)
  if sides == 2:
    first, log_det = formula(network("net_2"), second, first)
    expected += log_det
  second, log_det = formula(network("net_1"), first, second)
  expected += log_det
  z, log_det = jax.jit(coupling.apply)(variables, x, cond)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  close(z, jnp.concatenate([first, second], -1))
  close(log_det, expected)
  assert sorted(variables["params"]) == ["net_1", "net_2"][:sides]


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize("make", [bj.AdditiveCoupling, bj.GINCoupling])
def test_volume_is_preserved_exactly(make, method):
  coupling = make(CONV)
  variables, x, cond = _draw(coupling, (2, 4, 4, 6), (2, 4, 4, 3), scale=3.0)
  run = jax.jit(functools.partial(coupling.apply, method=method))
  out, log_det = run(variables, x, cond)
  np.testing.assert_array_equal(log_det, 0)
  assert np.abs(out - x).max() > 0.5


def test_gin_log_scales_sum_to_0_at_every_position():
  """Checks also that a single active channel is only shifted."""

  def log_slopes(channels):
    coupling = bj.GINCoupling(POINTWISE, sides=1, alpha=ALPHA)
    shape = (1, 1, 3, channels)
    variables, x, cond = _draw(coupling, shape, (1, 3), scale=2.0)
    run = jax.jacfwd(lambda x: coupling.apply(variables, x, cond)[0])
    jacobian = np.asarray(jax.jit(run)(x)).reshape(3 * channels, 3 * channels)
    slopes = np.diagonal(jacobian).reshape(3, channels)
    return np.log(slopes[:, channels // 2 :])

  many = log_slopes(6)
  assert np.abs(many).max(1).min() > 0.1
  np.testing.assert_allclose(many.sum(1), 0, atol=1e-5)
  np.testing.assert_allclose(log_slopes(2), 0, atol=1e-6)


@pytest.mark.parametrize(
  "make, bound",
  [
    (bj.AdditiveCoupling, 0.0),
    (bj.RealNVPCoupling, 1.9),
    (bj.GINCoupling, 3.8),
    (bj.SplineCoupling, 10.0),
  ],
)
def test_coupling_reports_its_largest_log_scale(make, bound):
  """Checks the number that training prints, for every kind of coupling."""
  coupling = make(DENSE, sides=1)
  variables, x, cond = _draw(coupling, (2, 6), (2, 3), scale=3.0)
  run = jax.jit(functools.partial(coupling.apply, mutable="diagnostics"))
  _, updated = run(variables, x, cond)
  largest = updated["diagnostics"]["max_log_scale"]
  assert largest.shape == ()
  assert largest <= bound
  assert (largest > 0.5) == (bound > 0)


@pytest.mark.parametrize(
  "make, count",
  [
    (bj.AdditiveCoupling, 2),
    (bj.AffineCoupling, 4),
    (bj.GINCoupling, 4),
    (bj.RealNVPCoupling, 4),
    (bj.SplineCoupling, 46),
  ],
)
def test_network_features_per_active_channel(make, count):
  """Counts the outputs for 4 channels: two sides with two active ones."""
  shapes = jax.eval_shape(
    make(DENSE).init, jax.random.key(0), jnp.zeros((2, 4))
  )
  features = sum(
    leaf.shape[0]
    for path, leaf in jax.tree.leaves_with_path(shapes["params"])
    if "layer_1" in str(path) and "bias" in str(path)
  )
  assert features == 2 * count


def test_max_log_scale_of_a_flow():
  coupling = bj.AffineCoupling(DENSE, alpha=ALPHA)
  stack = bj.Stack(bj.AffineCoupling(DENSE, alpha=ALPHA), 2)
  flow = bj.Chain((coupling, bj.Permutation(), stack))
  variables, x, cond = _draw(flow, (2, 6), (2, 3))
  run = jax.jit(functools.partial(flow.apply, mutable="diagnostics"))
  _, updated = run(variables, x, cond)
  leaves = jax.tree.leaves(updated["diagnostics"])
  assert sorted(leaf.shape for leaf in leaves) == [(), (2,)]
  expected = max(np.max(leaf) for leaf in leaves)
  assert 0 < expected < ALPHA
  assert bj.max_log_scale(updated["diagnostics"]) == expected


def test_max_log_scale_without_couplings_is_0():
  assert bj.max_log_scale({}) == 0


class _Pooled(nn.Module):
  """A network with one head for all positions."""

  @nn.compact
  def __call__(self, u, cond, features):
    return jnp.mean(nn.Dense(features)(u), axis=(1, 2), keepdims=True)


class _Narrow(nn.Module):
  """A network that ignores how many features it is asked for."""

  @nn.compact
  def __call__(self, u, cond, features):
    return nn.Dense(2)(u)


@pytest.mark.parametrize(
  "network, shape, got, expected",
  [
    (_Pooled, (2, 4, 4, 2), [2, 1, 1, 2], [2, 4, 4, 2]),
    (_Narrow, (2, 6), [2, 2], [2, 6]),
  ],
)
@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_heads_that_would_broadcast_are_refused(
  network, shape, got, expected, method
):
  """Their log-scales would be counted once, and used everywhere."""
  message = (
    re.escape(f"returned shape {got} ") + r".*" + re.escape(f"{expected}")
  )
  with pytest.raises(ValueError, match=message):
    bj.AffineCoupling(network).init_with_output(
      jax.random.key(0), normal(0, shape, np.float32), method=method
    )
