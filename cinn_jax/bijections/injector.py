"""Injectors: the condition alone steers all channels."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  Array,
  Bijection,
  Condition,
  at_least_float32,
  sum_per_example,
  zero_log_det,
)
from cinn_jax.bijections.conditions import check_condition
from cinn_jax.bijections.log_scales import affine, report_log_scale, soft_clamp


class Injector(Bijection):
  """The base class of injectors: z = f(x; net(c)), for every number of x.

  f acts on each number alone, with a positive slope. A subclass defines
  `features` and `transform`, like a subclass of `Coupling`. The network never
  sees x, so it runs once when many latents are sampled for one image.

  Attributes:
    subnet: Makes a network `net(u, cond, features) -> [B, ..., features]`; see
      `cinn_jax.models.networks.subnets`. It receives the first spatial leaf of
      the condition as `u` and the remaining leaves as `cond`.
  """

  subnet: Callable[[], nn.Module]

  def features(self, channels: int) -> int:
    """Returns the number of features for data with `channels` channels."""
    raise NotImplementedError(f"{type(self).__name__}.features")

  def transform(
    self, x: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    """Returns f(x) or its inverse, and the logarithms of *f's* slopes."""
    raise NotImplementedError(f"{type(self).__name__}.transform")

  def setup(self) -> None:
    self.net = self.subnet()

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(x, cond, inverse=False)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run(z, cond, inverse=True)

  def _run(
    self, value: Array, cond: Condition, *, inverse: bool
  ) -> tuple[Array, Array]:
    # Maps first: a vector is broadcast against a map, not the reverse.
    leaves = sorted(jax.tree.leaves(cond), key=lambda leaf: -leaf.ndim)
    if not leaves:
      raise ValueError(
        f"{type(self).__name__} needs a condition and got none: pass one, or"
        " use a coupling."
      )
    check_condition(value, cond)
    head = self.net(leaves[0], leaves[1:], self.features(value.shape[-1]))
    head = head.astype(at_least_float32(value.dtype))
    if head.ndim < value.ndim:  # only vectors, for data that are maps
      head = head.reshape(head.shape[:1] + (1,) * (value.ndim - 2) + (-1,))
    value, log_scale = self.transform(value, head, inverse=inverse)
    log_scale = jnp.broadcast_to(log_scale, value.shape)
    report_log_scale(self, log_scale)
    log_det = sum_per_example(log_scale)
    return value, zero_log_det(value) + (-log_det if inverse else log_det)


class AffineInjector(Injector):
  """z = x * exp(g(s)) + t, with s and t from the condition.

  The affine injector of SRFlow (Lugmayr et al. 2020, section 3.2) and CAFLOW.
  g is a soft clamp, as in `AffineCoupling`.

  Attributes:
    alpha: Bound of the log-scale.
    clamp: A name in `CLAMPS`.
  """

  alpha: float = 1.9
  clamp: str = "cinn_paper"

  def features(self, channels: int) -> int:
    return 2 * channels

  def transform(
    self, x: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    raw, shift = jnp.split(head, 2, axis=-1)
    log_scale = soft_clamp(self.clamp, raw, self.alpha)
    return affine(x, log_scale, shift, inverse=inverse), log_scale


class AdditiveInjector(Injector):
  """z = x + t, with t from the condition; log_det is 0.

  If z is standard normal, x is normal with mean -t.
  """

  def features(self, channels: int) -> int:
    return channels

  def transform(
    self, x: Array, head: Array, *, inverse: bool
  ) -> tuple[Array, Array]:
    return (x - head if inverse else x + head), jnp.zeros_like(head)
