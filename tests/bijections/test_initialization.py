"""Initial values of many examples, computed in chunks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import build_model
from tests.support.drawing import normal
from tests.support.pyramids import SMALL

# Not a multiple of the chunks.
ROWS, CHUNK = 22, 8


def _pictures(seed):
  return jnp.asarray(0.5 + 0.1 * normal(seed, (ROWS, 8, 8, 3), np.float32))


def _flow(name, **settings):
  return make_flow(build_model(name, **settings), (8, 8, 3))


def _caflow():
  return _flow("caflow", levels=2, depth=1, hidden=4, latent_depths=(1, 1))


def test_chunks_change_no_initial_value():
  """The second ActNorm of the stack sees what the networks make of the data."""
  flow = _flow(
    "image_cinn",
    hidden=(4,),
    depths=(2,),
    condition_channels=(4,),
    zero_last=False,
    mixing="permutation",
  )
  key = jax.random.key(0, impl="rbg")  # compiles fast
  whole, chunks = (
    flow.init(key, _pictures(1), _pictures(2), batch_size=size)
    for size in (None, CHUNK)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    whole,
    chunks,
  )


@pytest.mark.parametrize("batch_size", [None, CHUNK, ROWS])
def test_networks_see_no_more_rows_than_the_batch_size(batch_size):
  flow, rows = _caflow(), set()

  def record(method, args, kwargs, context):
    if isinstance(context.module, nn.Conv):
      rows.add(args[0].shape[0])
    return method(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(
      lambda x: flow.init(jax.random.key(0), x, x, batch_size), _pictures(1)
    )
  assert rows == {batch_size or ROWS}


@pytest.mark.parametrize("batch_size", [0, 2.5, "8"])
def test_batch_size_that_is_no_count_raises(batch_size):
  with pytest.raises(ValueError, match=r"batch_size must be a whole number"):
    _caflow().init(jax.random.key(0), _pictures(1), _pictures(2), batch_size)


@pytest.mark.parametrize(
  "name, settings",
  [
    ("wavelet_flow", {**SMALL, "channels": 3}),
    (
      "token_flow",
      {
        "size": 8,
        "width": 8,
        "head_width": 8,
        "layers": 1,
        "conditioned": False,
      },
    ),
  ],
)
def test_flows_without_a_condition_start_in_chunks_too(name, settings):
  flow = _flow(name, **settings)
  whole, chunks = (
    jax.eval_shape(
      lambda x, size=size: flow.init(jax.random.key(0), x, None, size),
      _pictures(1),
    )
    for size in (None, CHUNK)
  )
  assert whole == chunks
