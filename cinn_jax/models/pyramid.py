"""A pyramid of flows from coarse to fine; `wavelet_flow` has the paper."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax import likelihood
from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  PyTree,
  check_image,
  zero_log_det,
)
from cinn_jax.bijections.reshape import Haar
from cinn_jax.models.networks.additions import resize
from cinn_jax.models.networks.level_condition import Given
from cinn_jax.models.networks.taming import compress
from cinn_jax.runtime.cpu_convolution import conv_general_dilated


class PyramidFlow(Bijection):
  """Flows for the levels of a Haar pyramid; latents are finest first.

  With all levels it is a bijection of x [B, size, size, channels]. With some of
  them, as when one is trained alone, `forward` returns the latents and log_det
  of these, so bits/dim are their share of the total; and `inverse` puts 0 in
  the place of what the others would make.

  Attributes:
    levels: The flows by the number of cells on a side, which also names their
      parameters. "8" may be the base, which is given x_8 [B, 8, 8, channels].
      Then "16" is for the details that make 16 cells of 8, which are given to
      it, [B, 8, 8, 3 * channels]. Both are in units of the orthonormal
      transform: x_8 is 2^k times the mean of pixels, after k halvings. Their
      condition is a dict, see `LevelCondition`.
    size: Number of cells on a side of x.
    base_size: Number of cells on a side of the base.
    channels: Number of channels of x.
    features: Network from the picture of the condition to {rows: maps}, which
      all levels share; or None.
    mean, std: The networks see pictures, x's coarser ones too, as
      (picture - mean) / std.
    far: Absolute value above which they see coarser levels of x compressed, see
      `networks.taming`; 0 for never.
  """

  levels: Mapping[str, Bijection]
  size: int
  base_size: int
  channels: int
  features: nn.Module | None = None
  mean: float = 0.0
  std: float = 1.0
  far: float = 0.0

  def setup(self) -> None:
    self.haar = Haar(rebalance=1.0)

  def forward(
    self, x: Array, cond: Condition = None
  ) -> tuple[tuple[PyTree, ...], Array]:
    outcome = self._forward(x, cond)
    total = zero_log_det(x)
    for _, log_det in outcome.values():
      total += log_det
    return tuple(z for z, _ in outcome.values()), total

  def inverse(
    self, z: tuple[PyTree, ...], cond: Condition = None
  ) -> tuple[Array, Array]:
    names = [str(cells) for cells in self._sizes() if str(cells) in self.levels]
    if len(z) != len(names):
      raise ValueError(
        f"This flow has {len(names)} levels of latents, of {', '.join(names)}"
        f" cells, got {len(z)}."
      )
    latents = dict(zip(names, z, strict=True))
    given = self._given(cond)
    total = zero_log_det(z)
    batch = jax.tree.leaves(z)[0].shape[0]
    x = jnp.zeros((batch, *(self.base_size,) * 2, self.channels), total.dtype)
    for cells in reversed(self._sizes()):
      is_base = cells == self.base_size
      part = x if is_base else jnp.zeros((*x.shape[:3], 3 * self.channels))
      if str(cells) in latents:
        level = self.levels[str(cells)]
        seen = given if is_base else {**given, "coarse": self._means(x)}
        part, log_det = level.inverse(latents[str(cells)], seen)
        total += log_det
      x = part if is_base else self._join(x, part)
    return x, total

  def log_prob_by_level(
    self, x: Array, cond: Condition = None
  ) -> dict[str, Array]:
    """Returns each level's share [B] of ln p(x | cond), in nats, by its name.

    The shares are ln p(x_8 | cond), ln p(d_16 | x_8, cond) and so on, in units
    of the orthonormal transform, and add up to ln p(x | cond).
    """
    return {
      name: likelihood.log_prob(z, log_det).total
      for name, (z, log_det) in self._forward(x, cond).items()
    }

  def base_of(self, z: Array, cond: Condition = None) -> Array:
    """Returns the base [B, s, s, C] of its latents z, as means of x."""
    x, _ = self.levels[str(self.base_size)].inverse(z, self._given(cond))
    return x * (self.base_size / self.size)

  def base_latents(self, x: Array, cond: Condition = None) -> Array:
    """Returns the latents of a base [B, s, s, C]; undoes `base_of`."""
    level = self.levels[str(self.base_size)]
    return level.forward(x * (self.size / self.base_size), self._given(cond))[0]

  def reconstruction_errors(
    self, x: Array, cond: Condition = None
  ) -> dict[str, Array]:
    """Returns the largest |inverse(forward(x)) - x| [B], by level.

    The error of a level is that of its own part, given the true coarser one, in
    units of x's means. "round_trip" is the error of the whole if all levels are
    there, else the largest of the levels.
    """
    given = self._given(cond)
    errors = {}
    for cells, part, seen in self._parts(x, given):
      level = self.levels[str(cells)]
      back, _ = level.inverse(level.forward(part, seen)[0], seen)
      scale = cells / self.size
      errors[str(cells)] = scale * jnp.max(jnp.abs(back - part), (1, 2, 3))
    if len(errors) == len(self._sizes()):
      back, _ = self.inverse(self.forward(x, cond)[0], cond)
      whole = jnp.max(jnp.abs(back - x), (1, 2, 3))
    else:
      whole = jnp.max(jnp.stack([*errors.values()]), 0)
    return {"round_trip": whole, **errors}

  def _forward(self, x, cond):
    return {
      str(cells): self.levels[str(cells)].forward(part, seen)
      for cells, part, seen in self._parts(x, self._given(cond))
    }

  def _parts(self, x: Array, given: Given) -> list[tuple[int, Array, Given]]:
    """Returns (cells, part of x, condition) of the levels that are there."""
    check_image(x, "PyramidFlow")
    if x.shape[1:] != (self.size, self.size, self.channels):
      raise ValueError(
        f"This pyramid takes x [B, {self.size}, {self.size},"
        f" {self.channels}], got shape {x.shape}."
      )
    parts = []
    for cells in self._sizes():
      part, seen = x, given
      if cells > self.base_size:
        x, part = jnp.split(self.haar.forward(x)[0], [self.channels], axis=-1)
        seen = {**given, "coarse": self._means(x)}
      if str(cells) in self.levels:
        parts.append((cells, part, seen))
    return parts

  def _join(self, coarse, details):
    bands = jnp.concatenate([coarse, details], -1)
    return self.haar.inverse(bands)[0]

  def _means(self, x):
    """Converts a coarser x from the transform's units to what networks see."""
    means = (x * (x.shape[1] / self.size) - self.mean) / self.std
    return compress(means, self.far) if self.far else means

  def _sizes(self):
    cells = [self.size]
    while cells[-1] > self.base_size:
      cells.append(cells[-1] // 2)
    return cells

  def _given(self, cond: Condition) -> Given:
    given: dict[str, Any] = {}
    if isinstance(cond, Mapping):
      if "lightness" not in cond:
        raise ValueError(
          "A wavelet flow's condition is a picture [B, H, W, C], or a dict with"
          ' "lightness", perhaps "hints" and "features"; got'
          f" {', '.join(map(repr, sorted(cond)))}."
        )
      given = {**cond}
      given["picture"] = given.pop("lightness")
    elif cond is not None:
      given = {"picture": cond}
    picture = given.get("picture")
    if picture is not None:
      check_image(picture, "A wavelet flow's condition")
      given["picture"] = (picture - self.mean) / self.std
    # A condition may bring them along, computed once for all steps.
    if self.features is not None and "features" not in given:
      if picture is None:
        raise ValueError("Features of a picture need a condition, got none.")
      given["features"] = self.features(picture)
    return given


class BaseShift(Bijection):
  """Moves the base to around 0 by a small picture of x, then `flow`.

  The picture of the condition, at the size of x, is mapped linearly by a 3x3
  convolution and subtracted; it starts as a copy. log_det is that of `flow`.

  Attributes:
    flow: Receives the moved x, and the condition as it is.
    scale: Units of x: a picture of 1 is an x of this number.
    mean: Added to the picture: it has 0 in the place of this number.
  """

  flow: Bijection
  scale: float = 1.0
  mean: float = 0.0

  @property
  def cheap_inverse(self) -> bool:
    return self.flow.cheap_inverse

  def forward(self, x: Array, cond: Condition = None) -> tuple[PyTree, Array]:
    return self.flow.forward(x - self._shift(x.shape, cond), cond)

  def inverse(self, z: PyTree, cond: Condition = None) -> tuple[Array, Array]:
    x, log_det = self.flow.inverse(z, cond)
    return x + self._shift(x.shape, cond), log_det

  @nn.compact
  def _shift(self, shape: tuple[int, ...], cond: Condition) -> Array:
    """Returns [B, s, s, C]."""
    if not isinstance(cond, Mapping) or "picture" not in cond:
      raise ValueError("A base that is a small picture needs it, got none.")
    layer = nn.Conv(
      shape[-1],
      (3, 3),
      use_bias=False,
      kernel_init=_copy,
      conv_general_dilated=conv_general_dilated,
      name="picture",
    )
    picture = layer(resize(cond["picture"], shape[1]))
    return self.scale * (picture + self.mean)


def _copy(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
  """Returns a kernel [3, 3, C, C] that copies a picture."""
  del key
  kernel = jnp.eye(shape[2], shape[3], dtype=dtype)
  return jnp.zeros(shape, dtype).at[1, 1].set(kernel)
