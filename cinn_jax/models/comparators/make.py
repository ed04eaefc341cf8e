"""The interface of a `Flow` for models that are not flows."""

from typing import Any

import jax
import jax.numpy as jnp

from cinn_jax.bijections import eager
from cinn_jax.bijections.shapes import Shapes
from cinn_jax.flow import Flow, Objective, draw_latents


def make(
  model: Any, event_shape: tuple[int, ...], cond_shape: Shapes | None
) -> Flow:
  """Returns a `Flow` whose functions are those of a comparator.

  `sample` draws latents and decodes them, as for a flow, and `inverse` decodes
  given latents; both return NaN for the likelihood. `forward` and `log_prob`
  raise ValueError.

  Args:
    model: From one of `comparators.BUILDERS`. It is a Flax module with methods
      `decode(z, cond, size)`, `latent_shapes`, `loss` and possibly `bound`.
    event_shape: Shape of one x, (H, W, C).
    cond_shape: Shape of one condition, (h, w, c) or (c,).
  """

  def init(rng, x, cond=None, batch_size=None):
    del batch_size  # No layer starts from data.
    _check(cond)
    return dict(model.init(rng, x, cond))

  def latent_shapes(variables, cond):
    del variables
    _check(cond)
    shapes = model.latent_shapes(event_shape, cond.shape[1:])
    return tuple(
      jax.ShapeDtypeStruct((len(cond), *shape), jnp.float32) for shape in shapes
    )

  def inverse(variables, z, cond=None):
    _check(cond)
    x = model.apply(variables, z, cond, event_shape[:2], method="decode")
    return x, jnp.full(len(x), jnp.nan)

  def sample(variables, rng, cond, num_samples=1, temperature=1.0):
    shapes = latent_shapes(variables, cond)
    z = draw_latents(rng, shapes, num_samples, temperature)
    run = jax.vmap(lambda one: inverse(variables, one, cond), out_axes=1)
    return run(z)

  def refuse(variables, x, cond=None):
    raise ValueError(
      f"{model.title.capitalize()} has no latents of a picture and no exact"
      " likelihood: use a flow."
    )

  return Flow(
    init=eager.compiled(init),
    forward=refuse,
    inverse=eager.compiled(inverse),
    log_prob=refuse,
    sample=eager.compiled_sample(sample),
    latent_shapes=latent_shapes,
    module=model,
    event_shape=tuple(event_shape),
    cond_shape=cond_shape,
    objective=Objective(model.title, model.loss, getattr(model, "bound", None)),
  )


def _check(cond):
  """Raises ValueError unless a condition is one array."""
  if not hasattr(cond, "ndim"):
    raise ValueError(
      "A comparator takes a condition of one array, without hints or features;"
      f" got {type(cond).__name__}."
    )
