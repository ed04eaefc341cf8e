"""A conditional flow as a handful of pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cinn_jax import likelihood
from cinn_jax.bijections import COLLECTIONS, Bijection


class Flow(NamedTuple):
  """Pure functions of one flow; `variables` are what `init` returned.

  Every function takes a batch: data `x` [B, *event_shape] and a condition
  `cond`, a pytree of [B, ...] or None. They may be jitted, differentiated and
  mapped over.

  Attributes:
    init: `(rng, x, cond) -> variables`.
    forward: `(variables, x, cond) -> (z, log_det [B])`, data to latent; z is
      an array or a tuple of arrays, one per level, finest first.
    inverse: `(variables, z, cond) -> (x, log_det [B])`, latent to data.
    log_prob: `(variables, x, cond) -> likelihood.LogProb`, nats per example.
    sample: `(variables, rng, cond, num_samples=1, temperature=1.0) ->
      (x [B, num_samples, ...], log_prob [B, num_samples])`. The temperature
      scales the standard normal latents, either as one number or as one per
      level; log_prob is ln p(x | cond) in nats. Without a condition B is 1.
    latents: `(variables, cond) -> ` the shapes of one batch of latents.
    module: the Flax module behind it, for training.
    event_shape: of one example, without the batch.
  """

  init: Callable
  forward: Callable
  inverse: Callable
  log_prob: Callable
  sample: Callable
  latents: Callable
  module: Bijection
  event_shape: tuple[int, ...]


def make_flow(module: Bijection, event_shape: tuple[int, ...]) -> Flow:
  """A `Flow` from a bijection and the shape of one example.

  >>> import jax
  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.vector import vector_flow
  >>> flow = make_flow(vector_flow(3, blocks=2, hidden=(16,)), (3,))
  >>> x = jax.random.normal(jax.random.key(0), (5, 3))
  >>> cond = jax.random.normal(jax.random.key(1), (5, 2))
  >>> variables = flow.init(jax.random.key(2), x, cond)
  >>> z, log_det = flow.forward(variables, x, cond)
  >>> z.shape, log_det.shape
  ((5, 3), (5,))
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(3), cond, num_samples=4
  ... )
  >>> x.shape, log_prob.shape
  ((5, 4, 3), (5, 4))
  """
  event_shape = tuple(event_shape)

  def init(rng, x, cond=None):
    variables = module.init(rng, _checked(x), cond)
    return {k: v for k, v in variables.items() if k != "diagnostics"}

  def forward(variables, x, cond=None):
    return module.apply(variables, _checked(x), cond, method="forward")

  def inverse(variables, z, cond=None):
    return module.apply(variables, z, cond, method="inverse")

  def log_prob(variables, x, cond=None):
    return likelihood.log_prob(*forward(variables, x, cond))

  def latents(variables, cond):
    leaves = jax.tree.leaves(cond)
    batch = leaves[0].shape[0] if leaves else 1
    # Of the parameters' precision where that is more than float32.
    dtype = jnp.result_type(
      jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(variables))
    )
    x = jax.ShapeDtypeStruct((batch, *event_shape), dtype)
    return jax.eval_shape(forward, variables, x, cond)[0]

  def sample(variables, rng, cond, num_samples=1, temperature=1.0):
    shapes = latents(variables, cond)
    z = draw_latents(rng, shapes, num_samples, temperature)
    # Over latents alone, so that whatever depends on the condition only is
    # computed once per image.
    run = jax.vmap(lambda one: inverse(variables, one, cond), out_axes=1)
    x, log_det = run(z)
    prior = jax.vmap(likelihood.standard_normal, out_axes=1)(z)
    return x, prior - log_det

  def _checked(x):
    if x.shape[1:] != event_shape:
      raise ValueError(
        f"This flow takes x of shape [B, {', '.join(map(str, event_shape))}],"
        f" got {list(x.shape)}."
      )
    return x

  return Flow(
    init, forward, inverse, log_prob, sample, latents, module, event_shape
  )


def split_variables(variables):
  """(params, the rest): what is trained and what is only kept."""
  variables = dict(variables)
  params = variables.pop("params", {})
  kept = {k: v for k, v in variables.items() if k in COLLECTIONS}
  return params, kept


def draw_latents(rng, shapes, num_samples, temperature=1.0):
  """Latents [num_samples, B, ...] per level, times the level's temperature."""
  leaves, tree = jax.tree.flatten(shapes)
  temperatures = jnp.asarray(temperature)
  if temperatures.shape not in ((), (len(leaves),)):
    raise ValueError(
      f"temperature is one number or {len(leaves)}, one per level of latents;"
      f" got shape {list(temperatures.shape)}."
    )
  temperatures = jnp.broadcast_to(temperatures, (len(leaves),))
  drawn = [
    temperatures[k]
    * jax.random.normal(key, (num_samples, *leaf.shape), leaf.dtype)
    for k, (key, leaf) in enumerate(
      zip(jax.random.split(rng, len(leaves)), leaves, strict=True)
    )
  ]
  return jax.tree.unflatten(tree, drawn)
