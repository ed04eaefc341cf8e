"""Samples that have the colours of hints: an update of a pyramid's base.

A network that has seen hints in training follows them weakly, above all if they
are unlikely. So the base of each sample is moved to meet them, and the rest of
it as far as it varies together with them:

  x' = x + C H^T (H C H^T + R)^-1 (h - H x)

H picks the cells of the hints h, R is the variance of a hint around its cell's
mean, and C the covariance of samples of the same photograph. For a Gaussian p
this moves samples of p(x) to samples of p(x | h) (Matheron's rule; with C from
samples, the ensemble Kalman filter of Evensen 1994). Here it is an
approximation, whose density under the flow is exact, as that of any other x.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cinn_jax.bijections import Array, Condition, PyTree
from cinn_jax.flow import Flow, draw_latents
from cinn_jax.models.networks.additions import resize_hints
from cinn_jax.models.pyramid import PyramidFlow

# Samples from which the covariance is estimated.
MEMBERS = 64
# Deviation of a hint from the mean of its cell, in units of x.
DEVIATION = 0.05
# Cells over which covariances fade, as those of few samples are by chance.
REACH = 3.0


def can_meet(flow: Flow, cond: Condition) -> bool:
  """Tells if a flow has a base to move, and a condition a map of hints."""
  module = flow.module
  return (
    isinstance(module, PyramidFlow)
    and str(module.base_size) in module.levels
    and isinstance(cond, Mapping)
    and "hints" in cond
  )


def meet_hints(
  flow: Flow, variables: PyTree, cond: Condition, z: PyTree, key: Array
) -> PyTree:
  """Returns latents z [n, 1, ...] whose samples have the colours of hints.

  Args:
    flow: A pyramid with its base, see `can_meet`.
    variables: Its variables.
    cond: A batch of one condition, with "hints" [1, s, s, 3]. Without known
      cells among them z comes back as it is.
    z: Latents of n samples, the base's last.
    key: The seed of the covariance's samples.
  """

  def update(z):
    *details, base = z

    def of_latents(base):
      return flow.module.apply(variables, base, cond, method="base_of")

    def to_latents(x):
      return flow.module.apply(variables, x, cond, method="base_latents")

    shape = jax.ShapeDtypeStruct(base.shape[1:], base.dtype)
    drawn = jax.vmap(lambda rng: draw_latents(rng, shape, 1))(
      jax.random.split(key, MEMBERS)
    )
    members = jax.vmap(of_latents)(drawn.reshape(MEMBERS, *base.shape[1:]))
    x = jax.vmap(of_latents)(base)
    hints = resize_hints(cond["hints"], x.shape[2])[0]
    moved = shift(x[:, 0], members[:, 0], hints)
    return (*details, jax.vmap(to_latents)(moved[:, None]))

  is_known = jnp.any(cond["hints"][..., 2:] > 0)
  return jax.lax.cond(is_known, update, lambda z: z, tuple(z))


def shift(x: Array, members: Array, hints: Array) -> Array:
  """Returns x [n, s, s, C] moved to the hints, by the covariance of members.

  Args:
    x: Samples.
    members: More of them, [m, s, s, C].
    hints: [s, s, C + 1], colours times m, and m: 1 in known cells, else 0.
  """
  n, side, _, channels = x.shape
  known = jnp.repeat(hints[..., channels:], channels, -1).reshape(-1)
  values = hints[..., :channels].reshape(-1)
  anomalies = (members - jnp.mean(members, 0, keepdims=True)).reshape(
    len(members), -1
  )
  covariance = anomalies.T @ anomalies / (len(members) - 1)
  covariance *= _fade(side, channels)
  # Columns of the known cells; the others only see themselves.
  columns = covariance * known.reshape(1, -1)
  between = columns * known.reshape(-1, 1)
  noise = jnp.where(known > 0, DEVIATION**2, 1.0)
  gaps = (values.reshape(1, -1) - x.reshape(n, -1)) * known.reshape(1, -1)
  weights = jnp.linalg.solve(between + jnp.diag(noise), gaps.T)
  return x + (columns @ weights).T.reshape(x.shape)


def _fade(side: int, channels: int) -> Array:
  """Returns factors of covariances by the distance of cells."""
  rows, columns = jnp.meshgrid(jnp.arange(side), jnp.arange(side))
  place = jnp.stack([rows, columns], -1).reshape(-1, 1, 2)
  squares = jnp.sum((place - place.reshape(1, -1, 2)) ** 2, -1)
  fade = jnp.exp(-squares / (2 * REACH**2))
  return jnp.repeat(jnp.repeat(fade, channels, 0), channels, 1)
