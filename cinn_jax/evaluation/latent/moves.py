"""Walks, mixtures and transfers of latents.

Latents z are what `Flow.forward` returns: an array or a tuple of arrays
[B, ...], one per level, finest first. Functions of latents alone return latents
with a leading axis of variants, [K, B, ...]; `decode` turns them into data.
They make the figures of Ardizzone et al. 2019: a latent carries the style
under every condition, and walks in latent space change the style.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.flow import Flow


def decode(
  flow: Flow, variables: PyTree, z: PyTree, cond: Condition = None
) -> Array:
  """Decodes variants of latents [K, B, ...] under one condition: x [B, K, ...].

  Everything that depends on the condition only is computed once.
  """
  run = jax.vmap(
    lambda one: flow.inverse(variables, one, cond)[0], in_axes=0, out_axes=1
  )
  return run(z)


def across_conditions(
  flow: Flow, variables: PyTree, z: PyTree, conds: Condition
) -> Array:
  """Decodes each latent under every condition: x [B, K, ...].

  Args:
    flow: The flow.
    variables: Its variables.
    z: Latents [B, ...].
    conds: The conditions, a pytree of [K, ...].
  """
  batch = jax.tree.leaves(z)[0].shape[0]

  def under(cond):
    repeated = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), cond
    )
    return flow.inverse(variables, z, repeated)[0]

  return jax.vmap(under, out_axes=1)(conds)


def transfer_style(
  flow: Flow,
  variables: PyTree,
  x: Array,
  cond: Condition,
  conds: Condition,
) -> Array:
  """Encodes x [B, ...] under its own `cond`, decodes it under each of `conds`.

  Returns x [B, K, ...]. If `cond` is among `conds`, x itself is in the result.
  """
  z, _ = flow.forward(variables, x, cond)
  return across_conditions(flow, variables, z, conds)


def scale(z: PyTree, temperatures: Sequence[float]) -> PyTree:
  """Returns z times each temperature: [K, B, ...]."""
  return jax.tree.map(lambda leaf: _outer(temperatures, leaf), z)


def interpolate(start: PyTree, end: PyTree, steps: int) -> PyTree:
  """Interpolates from `start` to `end`, both included: [steps, B, ...]."""
  return jax.tree.map(
    lambda a, b: jnp.linspace(a, b, steps, axis=0), start, end
  )


def grid(
  first: PyTree,
  second: PyTree,
  *,
  points: int = 5,
  reach: float = 0.9,
  power: float = 2.0,
) -> PyTree:
  """Returns a plane of points x points mixtures of two latents.

  The result is [points^2, B, ...], with a row for each share of `first`.
  Coordinates are in [-reach, reach]; a higher power makes them denser around 0.
  A corner has the temperature sqrt(2) reach.
  """
  line = np.linspace(-1.0, 1.0, points)
  line = reach * np.sign(line) * np.abs(line) ** power
  down, right = (c.ravel() for c in np.meshgrid(line, line, indexing="ij"))
  return jax.tree.map(
    lambda a, b: _outer(down, a) + _outer(right, b), first, second
  )


def resample(z: PyTree, draws: PyTree, level: int) -> PyTree:
  """Returns latents with one level from `draws` and the others from z.

  Args:
    z: Latents [B, ...].
    draws: Latents [K, B, ...].
    level: The level that comes from `draws`.

  Raises:
    ValueError: if z has no such level.
  """
  levels = _levels(z)
  if not 0 <= level < len(levels):
    raise ValueError(
      f"level is {level}, but these latents have {len(levels)}: choose 0 to"
      f" {len(levels) - 1}, the finest first."
    )
  others = _levels(draws)
  leaves = [
    others[k] if k == level else jnp.broadcast_to(leaf, others[k].shape)
    for k, leaf in enumerate(levels)
  ]
  return jax.tree.unflatten(jax.tree.structure(z), leaves)


def mix(z: PyTree, other: PyTree, shares: Sequence[float]) -> PyTree:
  """Mixes two latents [B, ...] with a share of the variance per level.

  Level k is sqrt(1 - share) z + sqrt(share) other, so that two independent
  standard normal latents give a standard normal one. Mixing the latents of a
  reference picture with random ones transfers the reference's colours to
  another condition: shares (1, 0.7, 0, 0), finest first, in the published
  ImageNet cINN.

  Args:
    z: Latents [B, ...].
    other: Latents of the same shapes.
    shares: Share of `other` in [0, 1] for each level, finest first.

  Raises:
    ValueError: for another number of shares than levels, or one outside [0, 1].
  """
  levels, others = _levels(z), _levels(other)
  if len(shares) != len(levels) or not all(0 <= s <= 1 for s in shares):
    raise ValueError(
      f"shares must be {len(levels)} numbers in [0, 1], one per level, finest"
      f" first; got {list(shares)}."
    )
  leaves = [
    np.sqrt(1 - share) * a + np.sqrt(share) * b
    for a, b, share in zip(levels, others, shares, strict=True)
  ]
  return jax.tree.unflatten(jax.tree.structure(z), leaves)


class Axes(NamedTuple):
  """Principal axes of a set of latents.

  Attributes:
    mean: Latents of one example, [1, ...].
    directions: [K, ...], by decreasing variance; one standard deviation long.
    variance_ratio: [K], the share of the total variance along each axis.
  """

  mean: PyTree
  directions: PyTree
  variance_ratio: np.ndarray

  def walk(
    self, weights: Mapping[int, float], positions: Sequence[float]
  ) -> PyTree:
    """Returns latents along a mixture of axes: [len(positions), 1, ...].

    Args:
      weights: Weights by axis, {index: weight}.
      positions: Positions in standard deviations of the axes.
    """
    line = np.asarray(positions, np.float32)

    def along(mean, directions):
      direction = sum(w * directions[k] for k, w in weights.items())
      return mean[None] + _outer(line, direction[None])

    return jax.tree.map(along, self.mean, self.directions)


def principal_axes(z: PyTree, count: int) -> Axes:
  """Finds the first `count` principal axes of latents [N, ...] (scikit-learn).

  Raises:
    ValueError: if there are not more than `count` latents.
  """
  leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, z))
  flat = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], 1)
  if not 0 < count < len(flat):
    raise ValueError(
      f"{count} principal axes need more than {count} latents, got {len(flat)}."
    )
  pca = PCA(count, svd_solver="randomized", random_state=0).fit(flat)
  lengths = np.sqrt(pca.explained_variance_)[:, None]
  ends = np.cumsum([leaf[0].size for leaf in leaves])[:-1]

  def latents(rows):
    parts = np.split(rows.astype(np.float32), ends, axis=1)
    arrays = [
      part.reshape(-1, *leaf.shape[1:])
      for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, arrays)

  return Axes(
    mean=latents(pca.mean_[None]),
    directions=latents(pca.components_ * lengths),
    variance_ratio=pca.explained_variance_ratio_,
  )


def _levels(z):
  return jax.tree.leaves(z)


def _outer(numbers, leaf):
  """Returns numbers [K] times leaf [B, ...]: [K, B, ...]."""
  numbers = jnp.asarray(numbers, leaf.dtype)
  return numbers.reshape(-1, *(1,) * leaf.ndim) * leaf[None]
