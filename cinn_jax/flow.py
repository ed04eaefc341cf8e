"""A conditional flow as a handful of pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cinn_jax import likelihood
from cinn_jax.bijections import COLLECTIONS, REPORTS, Bijection


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
    cond_shape: of one condition, where it was said to be one array.

  Raises:
    ValueError: by each function, for x, cond or latents of another shape than
      the flow's, saying which it takes; for x of integers.
  """

  init: Callable
  forward: Callable
  inverse: Callable
  log_prob: Callable
  sample: Callable
  latents: Callable
  module: Bijection
  event_shape: tuple[int, ...]
  cond_shape: tuple[int, ...] | None = None


def make_flow(
  module: Bijection,
  event_shape: tuple[int, ...],
  cond_shape: tuple[int, ...] | None = None,
) -> Flow:
  """A `Flow` from a bijection and the shape of one example.

  >>> import jax
  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.vector_flow import vector_flow
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

  Args:
    module: from `cinn_jax.bijections` or `cinn_jax.models`.
    event_shape: of one x, without the batch: [H, W, C] of a picture.
    cond_shape: of one condition, where it is one array. Then every function
      checks it; without it, only couplings do.
  """
  event_shape = tuple(event_shape)
  cond_shape = None if cond_shape is None else tuple(cond_shape)

  def init(rng, x, cond=None):
    check(x, cond)
    variables = module.init(rng, x, cond)
    return {k: v for k, v in variables.items() if k not in REPORTS}

  def forward(variables, x, cond=None):
    check(x, cond)
    return module.apply(variables, x, cond, method="forward")

  def inverse(variables, z, cond=None):
    if cond_shape is not None:
      _check_shape("cond", cond, cond_shape)
    # Only where it went wrong: what the flow expects takes a trace of it.
    try:
      x, log_det = module.apply(variables, z, cond, method="inverse")
    except (AttributeError, TypeError, ValueError):
      _check_latents(z, latents(variables, cond))
      raise
    if x.shape[1:] != event_shape:
      _check_latents(z, latents(variables, cond))
    return x, log_det

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

  def check(x, cond):
    _check_shape("x", x, event_shape)
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise ValueError(
        f"x is {x.dtype}, but a flow models continuous numbers: convert it to"
        " float32, in the range that the flow is for."
      )
    if cond_shape is not None:
      _check_shape("cond", cond, cond_shape)

  return Flow(
    *(init, forward, inverse, log_prob, sample, latents),
    *(module, event_shape, cond_shape),
  )


def _check_shape(name, value, shape):
  """Raises ValueError unless `value` is one array [B, *shape]."""
  got = getattr(value, "shape", None)
  if not got or got[1:] != shape:
    if got is not None:
      got = list(got)
    elif value is not None:
      got = type(value).__name__
    raise ValueError(
      f"This flow takes {name} of shape [B, {', '.join(map(str, shape))}], got"
      f" {got}."
    )


def _check_latents(z, expected):
  """Raises ValueError where z differs from what the flow expects."""
  batch = jnp.shape(jax.tree.leaves(z)[0])[:1]

  def described(leaf):
    shape = jnp.shape(leaf)
    return ["B", *shape[1:]] if shape[:1] == batch else list(shape)

  wanted = jax.tree.map(lambda leaf: ["B", *leaf.shape[1:]], expected)
  got = jax.tree.map(described, z)
  if wanted != got:
    raise ValueError(
      f"This flow takes latents of shape {_plainly(wanted)}, got"
      f" {_plainly(got)}."
    )


def _plainly(shapes):
  return str(shapes).replace("'", "")


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
