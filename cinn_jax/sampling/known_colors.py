"""Samples that have the colours of hints: an update of a pyramid's base.

A network that has seen hints in training follows them only weakly, above all if
they are unlikely. So the base of each sample is moved to meet them; its other
cells move as far as they vary together with the hinted ones:

  x' = x + C H^T (H C H^T + R)^-1 (h - H x)

H picks the cells of the hints h, R is the variance of a hint around its cell's
mean, and C the covariance of samples for the same photograph. If p is Gaussian,
this turns samples of p(x) into samples of p(x | h) (Matheron's rule; with C
from samples, the ensemble Kalman filter of Evensen 1994). Here it is an
approximation. The density of the result under the flow is exact, as for any x.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections import Array, PyTree
from cinn_jax.flow import Flow, draw_latents
from cinn_jax.models.networks.additions import resize_hints
from cinn_jax.models.pyramid import PyramidFlow
from cinn_jax.sampling.numbered import Draw, draw_numbered, invert

# Number of samples for the covariance, and their key, which is theirs alone.
MEMBERS = 64
_MEMBERS_KEY = 2**32 - 1
# Deviation of a hint from the mean of its cell, in units of x.
DEVIATION = 0.05
# Distance in cells over which covariances fade. With so few samples, distant
# cells have covariances by chance.
REACH = 3.0


def can_meet(flow: Flow) -> bool:
  """Tells if a flow has a base to move, and a condition with hints."""
  module, shapes = flow.module, flow.cond_shape
  return (
    isinstance(module, PyramidFlow)
    and str(module.base_size) in module.levels
    and isinstance(shapes, Mapping)
    and "hints" in shapes
  )


def make_draw_to_hints(
  flow: Flow,
) -> Callable[[PyTree, Mapping[str, Array]], Draw]:
  """Returns `draw_to_hints(variables, cond)`, which returns a `Draw`.

  `cond` is a batch of one condition with "hints" [1, s, s, 3]. The covariance's
  samples are drawn once for each key.

  Args:
    flow: A pyramid with its base, see `can_meet`.
  """

  def of_latents(variables, cond, base):
    one = functools.partial(flow.module.apply, method="base_of")
    return jax.vmap(lambda z: one(variables, z, cond))(base)

  @jax.jit
  def draw_members(variables, cond, key):
    *_, base = flow.latent_shapes(variables, cond)
    keys = jax.random.split(jax.random.fold_in(key, _MEMBERS_KEY), MEMBERS)
    z = jax.vmap(lambda rng: draw_latents(rng, base, 1)[0])(keys)
    return of_latents(variables, cond, z)[:, 0]

  @jax.jit
  def draw(variables, cond, members, key, numbers, temperature):
    *details, base = draw_numbered(
      flow,
      flow.latent_shapes(variables, cond),
      key=key,
      numbers=numbers,
      temperature=temperature,
    )
    x = of_latents(variables, cond, base)[:, 0]
    moved = shift(x, members, resize_hints(cond["hints"], x.shape[1])[0])
    to_latents = functools.partial(flow.module.apply, method="base_latents")
    base = jax.vmap(lambda x: to_latents(variables, x, cond))(moved[:, None])
    return invert(flow, variables, cond, (*details, base))

  def draw_to_hints(variables: PyTree, cond: Mapping[str, Array]) -> Draw:
    members: dict[bytes, Array] = {}

    def draw_one(key, numbers, temperature):
      name = np.asarray(jax.random.key_data(key)).tobytes()
      if name not in members:
        members[name] = draw_members(variables, cond, key)
      return draw(variables, cond, members[name], key, numbers, temperature)

    return draw_one

  return draw_to_hints


def shift(x: Array, members: Array, hints: Array) -> Array:
  """Returns x [n, s, s, C] moved to the hints, by the covariance of members.

  Args:
    x: Samples.
    members: Samples for the covariance, [m, s, s, C].
    hints: [s, s, C + 1], colours times k, and k: 1 in known cells, else 0.
  """
  n, side, _, channels = x.shape
  known = jnp.repeat(hints[..., channels:], channels, -1).reshape(-1)
  values = hints[..., :channels].reshape(-1)
  anomalies = (members - jnp.mean(members, 0, keepdims=True)).reshape(
    len(members), -1
  )
  covariance = anomalies.T @ anomalies / (len(members) - 1)
  covariance *= _fade(side, channels)
  # Columns of the known cells; all others are 0, so they affect no other cell.
  columns = covariance * known.reshape(1, -1)
  between = columns * known.reshape(-1, 1)
  noise = jnp.where(known > 0, DEVIATION**2, 1.0)
  gaps = (values.reshape(1, -1) - x.reshape(n, -1)) * known.reshape(1, -1)
  weights = jnp.linalg.solve(between + jnp.diag(noise), gaps.T)
  return x + (columns @ weights).T.reshape(x.shape)


def _fade(side: int, channels: int) -> Array:
  """Returns factors for covariances, by the distance between cells."""
  rows, columns = jnp.meshgrid(jnp.arange(side), jnp.arange(side))
  place = jnp.stack([rows, columns], -1).reshape(-1, 1, 2)
  squares = jnp.sum((place - place.reshape(1, -1, 2)) ** 2, -1)
  fade = jnp.exp(-squares / (2 * REACH**2))
  return jnp.repeat(jnp.repeat(fade, channels, 0), channels, 1)
