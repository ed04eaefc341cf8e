"""Gradients by device are those of the whole batch.

`tests/runs/test_devices.py` compares whole runs in the usual suite.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import jax
import jax.numpy as jnp
import numpy as np
import optax
from cinn_jax import make_flow, models, vector_flow
from cinn_jax.runtime import sharding
from cinn_jax.runtime.flops import flops
from cinn_jax.training.step import init_fit, make_update
from tests.support.drawing import abstract_batch, draw_like

mesh = sharding.make_mesh()
assert mesh.size == 4


def draw(shapes, seed):
  return draw_like(abstract_batch(shapes, 8), seed, np.float32)


def compare(module, event_shape, cond_shape, *last):
  flow = make_flow(module, event_shape, cond_shape)
  # Some flows take pixels, from 0 to 1.
  x, cond = jax.tree.map(
    jax.nn.sigmoid, (draw(event_shape, 0), draw(cond_shape, 1))
  )
  optimizer = optax.sgd(0.1)
  fit = jax.jit(
    lambda key: init_fit(key, flow, optimizer, x, cond)
  )(jax.random.key(0))
  fit = fit._replace(params=draw_like(fit.params, 2, np.float32, scale=0.2))
  spread = jax.device_put((x, cond), sharding.by_example(mesh))
  updates = [make_update(flow, optimizer, over) for over in (None, mesh)]
  one, several = (
    jax.jit(update)(fit, *data, *last)
    for update, data in zip(updates, ((x, cond), spread), strict=True)
  )
  counted = [flops(update, fit, x, cond, *last) for update in updates]
  # Every device multiplies matrices of parameters.
  assert 0 < counted[0] <= counted[1] < mesh.size * counted[0]
  assert np.isfinite(one[1]["loss"])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5),
    one,
    several,
  )


COMPARISONS
"""
_VECTORS = """
vectors = vector_flow(
  3, blocks=1, hidden=(8,), linear_start=False
)
compare(vectors, (3,), {"a": (2,), "b": (1,)})
"""
# Two flows, with a loss next to the likelihood, and a phase of each alone.
_CAFLOW = """
caflow = models.BUILDERS["caflow"](
  levels=2, depth=1, hidden=4, latent_depths=(1, 1), latent_hidden=4
)
shape = (8, 8, 3)
compare(caflow, shape, shape, jnp.asarray(False))
compare(caflow, shape, shape, jnp.asarray(True))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  "comparisons",
  [
    pytest.param(_VECTORS, id="vectors"),
    pytest.param(_CAFLOW, id="caflow"),
  ],
)
def test_a_step_is_that_of_one_device(comparisons):
  result = subprocess.run(
    [sys.executable, "-c", _PROGRAM.replace("COMPARISONS", comparisons)],
    cwd=ROOT,
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "4"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
