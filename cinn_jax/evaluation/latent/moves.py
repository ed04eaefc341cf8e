"""What the latent space knows: walks, mixtures and transfers of latents.

Latents z are what `Flow.forward` returns: an array or a tuple of arrays
[B, ...], one per level, finest first. The functions of latents alone return
latents with a leading axis of variants, [K, B, ...]; `decode` turns them into
data. The figures they make are those of Ardizzone et al. 2019: one latent
carries the style whatever the condition, and walks in it change the style.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA


def decode(flow, variables, z, cond=None):
  """Variants of latents [K, B, ...] under one condition: x [B, K, ...].

  What depends on the condition only is computed once.
  """
  run = jax.vmap(
    lambda one: flow.inverse(variables, one, cond)[0], in_axes=0, out_axes=1
  )
  return run(z)


def across_conditions(flow, variables, z, conds):
  """Each latent [B, ...] under every condition: x [B, K, ...].

  Args:
    conds: a pytree of [K, ...], the conditions.
  """
  batch = jax.tree.leaves(z)[0].shape[0]

  def under(cond):
    repeated = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), cond
    )
    return flow.inverse(variables, z, repeated)[0]

  return jax.vmap(under, out_axes=1)(conds)


def transfer_style(flow, variables, x, cond, conds):
  """Encodes x [B, ...] under its own `cond`, decodes it under each of `conds`.

  Returns x [B, K, ...]; with `cond` among `conds`, x itself is among them.
  """
  z, _ = flow.forward(variables, x, cond)
  return across_conditions(flow, variables, z, conds)


def scale(z, temperatures):
  """z times each temperature: [K, B, ...]."""
  return jax.tree.map(lambda leaf: _outer(temperatures, leaf), z)


def interpolate(start, end, steps: int):
  """From one latent to another in equal steps, both ends included."""
  return jax.tree.map(
    lambda a, b: jnp.linspace(a, b, steps, axis=0), start, end
  )


def grid(first, second, *, points=5, reach=0.9, power=2.0):
  """A plane of latents: points x points mixtures of two, [points^2, B, ...].

  Coordinates lie in [-reach, reach], the denser around 0 the higher the power;
  a corner has the temperature sqrt(2) reach. Rows follow `first`.
  """
  line = np.linspace(-1.0, 1.0, points)
  line = reach * np.sign(line) * np.abs(line) ** power
  down, right = (c.ravel() for c in np.meshgrid(line, line, indexing="ij"))
  return jax.tree.map(
    lambda a, b: _outer(down, a) + _outer(right, b), first, second
  )


def resample(z, drawn, level: int):
  """Latents whose one level comes from `drawn` [K, B, ...], the rest from z.

  Raises:
    ValueError: where z has no such level.
  """
  levels = _levels(z)
  if not 0 <= level < len(levels):
    raise ValueError(
      f"level is {level}, but these latents have {len(levels)}: choose 0 to"
      f" {len(levels) - 1}, the finest first."
    )
  fresh = _levels(drawn)
  kept = [
    fresh[k] if k == level else jnp.broadcast_to(leaf, fresh[k].shape)
    for k, leaf in enumerate(levels)
  ]
  return jax.tree.unflatten(jax.tree.structure(z), kept)


def mix(z, other, shares):
  """z with a share of another's variance per level: [B, ...].

  Level k is sqrt(1 - share) z + sqrt(share) other, so that two independent
  standard normal latents make a standard normal one. With the latents of a
  reference picture and random ones this carries the reference's colours over
  to another condition: shares (1, 0.7, 0, 0), finest first, in the published
  ImageNet cINN.

  Raises:
    ValueError: for another number of shares than levels, or one outside [0, 1].
  """
  levels, others = _levels(z), _levels(other)
  if len(shares) != len(levels) or not all(0 <= s <= 1 for s in shares):
    raise ValueError(
      f"shares are {len(levels)} numbers in [0, 1], one per level, finest"
      f" first; got {list(shares)}."
    )
  mixed = [
    np.sqrt(1 - share) * a + np.sqrt(share) * b
    for a, b, share in zip(levels, others, shares, strict=True)
  ]
  return jax.tree.unflatten(jax.tree.structure(z), mixed)


class Axes(NamedTuple):
  """Principal axes of a set of latents.

  Attributes:
    mean: latents of one example, [1, ...].
    directions: [K, ...], by falling variance; one standard deviation long.
    variance_ratio: [K], the share of the whole variance along each.
  """

  mean: object
  directions: object
  variance_ratio: np.ndarray

  def walk(self, weights, positions):
    """Latents along a mixture of axes: [len(positions), 1, ...].

    Args:
      weights: by axis, {index: weight}.
      positions: in standard deviations of the axes.
    """
    line = np.asarray(positions, np.float32)

    def along(mean, directions):
      direction = sum(w * directions[k] for k, w in weights.items())
      return mean[None] + _outer(line, direction[None])

    return jax.tree.map(along, self.mean, self.directions)


def principal_axes(z, count: int) -> Axes:
  """The first `count` principal axes of latents [N, ...] (scikit-learn).

  Raises:
    ValueError: where there are no more than `count` latents.
  """
  leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, z))
  flat = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], 1)
  if not 0 < count < len(flat):
    raise ValueError(
      f"{count} principal axes take more than {count} latents, got {len(flat)}."
    )
  pca = PCA(count, svd_solver="randomized", random_state=0).fit(flat)
  lengths = np.sqrt(pca.explained_variance_)[:, None]
  ends = np.cumsum([leaf[0].size for leaf in leaves])[:-1]

  def latents(rows):
    parts = np.split(rows.astype(np.float32), ends, axis=1)
    shaped = [
      part.reshape(-1, *leaf.shape[1:])
      for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, shaped)

  return Axes(
    latents(pca.mean_[None]),
    latents(pca.components_ * lengths),
    pca.explained_variance_ratio_,
  )


def _levels(z):
  return jax.tree.leaves(z)


def _outer(numbers, leaf):
  """numbers [K] times leaf [B, ...] as [K, B, ...]."""
  numbers = jnp.asarray(numbers, leaf.dtype)
  return numbers.reshape(-1, *(1,) * leaf.ndim) * leaf[None]
