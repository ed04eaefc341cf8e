"""Token flows in which every n-th coupling splits the tokens."""

import functools

import jax
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.token_flow import token_flow
from tests.support import token_flows
from tests.support.drawing import draw_variables

KEY = jax.random.key(0, impl="rbg")  # compiles fast
_build = functools.partial(token_flows.build, "coupling")


def _couplings(part):
  """Returns the couplings of a flow in order: c of channels, s of tokens."""
  if isinstance(part, bj.Stack):
    return part.depth * _couplings(part.block)
  if isinstance(part, bj.Chain):
    return "".join(map(_couplings, part.parts))
  if isinstance(part, bj.SpatialCoupling):
    return "s"
  return "c" if isinstance(part, bj.AffineCoupling) else ""


@pytest.mark.parametrize(
  "blocks, every, expected",
  [
    (3, 0, "ccc"),
    (3, 1, "sss"),
    (5, 2, "cscsc"),
    (6, 3, "ccsccs"),
    (7, 5, "ccccscc"),
  ],
)
def test_every_nth_coupling_splits_the_tokens(blocks, every, expected):
  flow = _build(blocks=blocks, spatial_every=every).bijection
  assert _couplings(flow) == expected
  # No more than two stacks, however many couplings.
  assert len(flow.parts) <= 3


@functools.cache
def _case():
  module, (x, cond) = _build(blocks=7, spatial_every=2), token_flows.data()
  return module, draw_variables(module, 2, x, cond, 0.1), x, cond


def test_patterns_are_kept_as_constants():
  _, variables, _, _ = _case()
  groups = variables["constants"]["bijection"]["parts_1"]["block"]
  np.testing.assert_array_equal(groups["parts_1"]["split"], [0, 1, 2])


@pytest.mark.slow
def test_starts_as_the_tokens():
  module, (x, cond) = _build(blocks=4, spatial_every=2), token_flows.data()
  (z, log_det), _ = jax.jit(module.init_with_output)(KEY, x, cond)
  tokens, _ = bj.Patches(2).apply({}, x)
  np.testing.assert_allclose(log_det, 0, atol=1e-6)
  # The couplings of channels permute the numbers of a token.
  np.testing.assert_allclose(np.sort(z), np.sort(tokens), atol=1e-6)


@pytest.mark.slow
def test_round_trip_in_float32():
  module, variables, x, cond = _case()
  z, log_det = token_flows.jitted(module)(variables, x, cond)
  back, other = token_flows.jitted(module, "inverse")(variables, z, cond)
  assert np.abs(log_det).min() > 1e-2
  np.testing.assert_allclose(back, x, atol=1e-4)
  np.testing.assert_allclose(other, -log_det, atol=1e-3)


def test_memory_policy_reaches_the_stacks():
  _, *stacks = _build(blocks=7, spatial_every=2, memory="remat").bijection.parts
  assert [stack.memory for stack in stacks] == ["remat", "remat"]


@pytest.mark.slow
def test_program_does_not_grow_with_depth():
  def size(blocks):
    module, (x, cond) = (
      _build(blocks=blocks, spatial_every=5),
      (token_flows.data()),
    )
    variables = jax.eval_shape(module.init, KEY, x, cond)
    return len(jax.jit(module.apply).lower(variables, x, cond).as_text())

  assert size(51) < 1.05 * size(11)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"kind": "autoregressive"}, "kind='coupling'.*got .*'autoregressive'"),
    ({"spatial_every": 5}, "at most .*got spatial_every 5,.*blocks 4"),
    ({"spatial_every": -1}, "got spatial_every -1,"),
    ({"size": (32, 20)}, "even number .*got 8x5: change"),
    ({"size": (12, 32)}, "even number .*got 3x8: change"),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message) as error:
    token_flow(**{"kind": "coupling", "spatial_every": 2, **options})
  assert "\n" not in str(error.value)
