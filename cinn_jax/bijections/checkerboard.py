"""Couplings of the two colours of a checkerboard (Dinh et al. 2017)."""

import numpy as np

from cinn_jax.bijections.base import (
  Array,
  Condition,
  at_least_float32,
  check_image,
  sum_per_example,
)
from cinn_jax.bijections.conditions import check_condition
from cinn_jax.bijections.coupling import AffineCoupling
from cinn_jax.bijections.log_scales import report_log_scale


class CheckerboardCoupling(AffineCoupling):
  """One-sided affine coupling of pixels, split like a checkerboard.

  Pixels with (y + x) % 2 == parity steer the others: the network sees the image
  with the others set to 0. All channels of a pixel stay together, so an image
  with one channel works too, at its full resolution. (Dinh et al. 2017, section
  3.4.)

  Attributes:
    sides: Must be 1.
    parity: 0 or 1, the colour of the pixels that do not change.
  """

  sides: int = 1
  parity: int = 0

  def setup(self) -> None:
    super().setup()
    if self.sides != 1 or self.parity not in (0, 1):
      raise ValueError(
        "CheckerboardCoupling has 1 side, and parity 0 or 1; got"
        f" {self.sides}, {self.parity}."
      )

  def _run(
    self, value: Array, cond: Condition, *, inverse: bool
  ) -> tuple[Array, Array]:
    check_image(value, "CheckerboardCoupling")
    check_condition(value, cond)
    value = value.astype(at_least_float32(value.dtype))
    active = self._active(value)
    head = self.net_1(
      value * ~active, cond, self.features(value.shape[-1])
    ).astype(value.dtype)
    changed, log_scale = self.transform(value, head, inverse=inverse)
    log_scale = log_scale * active
    report_log_scale(self, log_scale)
    log_det = sum_per_example(log_scale)
    result = value * ~active + changed * active
    return result, -log_det if inverse else log_det

  def _active(self, value: Array) -> np.ndarray:
    """Returns bool [1, H, W, 1], True for the pixels that change."""
    _, height, width, _ = value.shape
    rows, columns = np.indices((height, width))
    return ((rows + columns) % 2 != self.parity)[None, :, :, None]
