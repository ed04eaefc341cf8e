"""Scanned and separate blocks give the same flow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.condition_nets import Head
from cinn_jax.models.networks.subnets import Subnet
from tests.support import slow
from tests.support.drawing import draw_like, normal

DEPTH = 3
X, COND = normal(0, (6, 5), np.float32), normal(1, (6, 2), np.float32)
# Initial values are as far from the identity as trained ones.
NET = functools.partial(
  Subnet, widths=(7,), kernels=(1, 1), init_std=0.3, zero_last=False
)


def _stack(scanned, **options):
  block = bj.Chain((bj.ActNorm(), bj.AffineCoupling(NET), bj.Permutation()))
  return bj.Stack(block, DEPTH, scanned=scanned, **options)


def _init(stack):
  return jax.jit(stack.init)(jax.random.key(3), X, COND)


def _apart(tree):
  """Unstacks {"block": stacked} into {"block": {"0": ..., "1": ...}}."""
  return {
    "block": {
      f"{k}": jax.tree.map(lambda leaf, k=k: leaf[k], tree["block"])
      for k in range(DEPTH)
    }
  }


def _assert_close(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5)
  jax.tree.map(close, actual, expected)


@pytest.mark.slow
def test_initial_values_are_the_same():
  """Checks also the values that depend on the data that reach a block."""
  apart, stacked = _init(_stack(False)), _init(_stack(True))
  for name in ("params", "constants"):
    _assert_close(apart[name], _apart(stacked[name]))
  biases = stacked["params"]["block"]["parts_0"]["bias"]
  assert np.abs(biases[0] - biases[1]).max() > 0.1


@pytest.mark.parametrize(
  "method", slow.all_but(["forward"], ["forward", "inverse"])
)
def test_results_gradients_and_reports_are_the_same(method):
  fixed = _init(_stack(True))["constants"]
  params = draw_like(_init(_stack(True))["params"], 0, np.float32, scale=0.3)
  variables = {"params": params, "constants": fixed}

  def loss(stack, variables, x, cond):
    (z, log_det), reports = stack.apply(
      variables, x, cond, method=method, mutable=["diagnostics"]
    )
    return jnp.sum(jnp.sin(z)) + jnp.sum(log_det**2), (z, log_det, reports)

  def run(scanned, variables):
    params, fixed = variables["params"], {"constants": variables["constants"]}
    call = lambda p, x, c: loss(_stack(scanned), {"params": p, **fixed}, x, c)  # noqa: E731
    return jax.jit(jax.value_and_grad(call, (0, 1, 2), has_aux=True))(
      params, X, COND
    )

  (_, (*out, largest)), (own, *others) = run(
    False, {name: _apart(tree) for name, tree in variables.items()}
  )
  (_, (*expected, reports)), (stacked, *others_expected) = run(True, variables)
  _assert_close((out, others), (expected, others_expected))
  _assert_close(own, _apart(stacked))
  [largest] = jax.tree.leaves(largest)
  _assert_close(largest, np.max(jax.tree.leaves(reports)[0]))


def test_running_statistics_must_be_scanned():
  coupling = bj.Conditioned(bj.AffineCoupling(NET), "c", Head(0, 4, "batch"))
  stack = bj.Stack(coupling, DEPTH, scanned=False)
  x, cond = normal(0, (2, 4, 4, 4), np.float32), np.ones((2, 4, 4, 3))
  with pytest.raises(ValueError, match=r"running statistics .* scanned=True"):
    stack.init(jax.random.key(0), x, {"c": cond.astype(np.float32)})


def test_memory_policies_need_scanned_blocks():
  for memory in ("remat", "reversible"):
    with pytest.raises(ValueError, match=f"'{memory}' is for .*scanned=True"):
      _init(_stack(False, memory=memory))
