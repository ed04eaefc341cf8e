"""Equal couplings, as many as asked for: what depth costs.

One-pixel and 3x3 convolutions on maps of 64x64x4, given maps of 64x64x3, in
batches of 16: activations weigh far more than parameters, as in real networks.
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
  """`depth` two-sided affine couplings, with a permutation after each."""
  net = functools.partial(Subnet, widths=(16,), kernels=(3, 1))
  block = bj.Chain((bj.AffineCoupling(net), bj.Permutation()))
  return make_flow(bj.Stack(block, depth, memory), (SIZE, SIZE, CHANNELS))


def lowered_step(flow: Flow):
  """A step of training it, ready to be compiled; nothing is allocated."""
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


def temporary_bytes(compiled) -> int:
  """What a compiled step needs beside its arguments and results."""
  return compiled.memory_analysis().temp_size_in_bytes
