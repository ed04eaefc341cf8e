"""A flow of any number of equal couplings, to measure the cost of depth.

Its data are maps of 64x64x4, and its conditions maps of 64x64x3, in batches of
16. Each subnet is a 3x3 and a 1x1 convolution, so that activations take far
more memory than parameters, as in real networks.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.flow import Flow
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.training.step import init_fit, make_update

BATCH, SIZE, CHANNELS, CONDITION = 16, 64, 4, 3
OPTIMIZER = optax.adam(1e-3)


def deep_flow(depth: int, memory: str = "store") -> Flow:
  """Returns `depth` two-sided affine couplings, each with a permutation."""
  net = functools.partial(Subnet, widths=(16,), kernels=(3, 1))
  block = bj.Chain((bj.AffineCoupling(net), bj.Permutation()))
  return make_flow(bj.Stack(block, depth, memory), (SIZE, SIZE, CHANNELS))


def lowered_step(flow: Flow) -> jax.stages.Lowered:
  """Lowers a training step for compilation, without allocating arrays."""
  x, cond = (
    jax.ShapeDtypeStruct((BATCH, SIZE, SIZE, channels), jnp.float32)
    for channels in (CHANNELS, CONDITION)
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  fit = jax.eval_shape(
    lambda key, x, cond: init_fit(key, flow, OPTIMIZER, x, cond), key, x, cond
  )
  update = jax.jit(make_update(flow, OPTIMIZER), donate_argnums=0)
  return update.lower(fit, x, cond)


def temporary_bytes(compiled: jax.stages.Compiled) -> int:
  """Returns a compiled step's memory without its arguments and results."""
  return compiled.memory_analysis().temp_size_in_bytes
