"""KID: a distance between two sets of pictures that has no bias.

(Binkowski et al. 2018, arXiv:1801.01401.) It is the squared maximum mean
discrepancy of features, with the kernel (a . b / D + 1)^3. Unlike the FID it
does not grow as pictures get fewer, so a few hundred pictures are enough; it
may be slightly below 0.
"""

import math

import numpy as np

from cinn_jax.evaluation.metrics.fid import check_features

# Half the width of a 95 % interval, in standard errors.
_WIDTH = 1.96
# Rows of the kernel that are in memory at a time.
_CHUNK = 512


def kernel_distance(
  a: np.ndarray, b: np.ndarray
) -> tuple[float, tuple[float, float] | None]:
  """Returns the KID of two sets of features, and its 95 % interval.

  Row k of `a` may depend on row k of `b`, as a sample depends on the picture
  whose condition it was given. Pairs (k, k) are left out, so the estimate is
  unbiased then too. It is the mean over k != l of

    k(a_k, a_l) + k(b_k, b_l) - k(a_k, b_l) - k(b_k, a_l).

  The interval is the jackknife's, which leaves out one row of both at a time;
  None below three rows.

  Args:
    a: Features [N, D].
    b: Features [N, D].

  Raises:
    ValueError: for other shapes, fewer than two pictures, or numbers that are
      not finite.
  """
  a, b = check_features(a, "a"), check_features(b, "b")
  if a.shape != b.shape:
    raise ValueError(
      f"Both sets need one shape; got {list(a.shape)} and {list(b.shape)}."
    )
  count = len(a)
  rows = np.concatenate(
    [_row_sums(a, b, first) for first in range(0, count, _CHUNK)]
  )
  total = rows.sum()
  value = float(total / (count * (count - 1)))
  if count < 3:
    return value, None
  without = (total - 2 * rows) / ((count - 1) * (count - 2))
  spread = np.sum(np.square(without - without.mean()))
  error = math.sqrt((count - 1) / count * spread)
  return value, (value - _WIDTH * error, value + _WIDTH * error)


def _row_sums(a, b, first):
  """Returns the sums of some rows of the terms, from row `first` on."""
  own_a, own_b = a[first : first + _CHUNK], b[first : first + _CHUNK]
  terms = _kernel(own_a, a) + _kernel(own_b, b)
  terms -= _kernel(own_a, b) + _kernel(own_b, a)
  index = np.arange(len(terms))
  terms[index, first + index] = 0.0
  return terms.sum(axis=1)


def _kernel(a, b):
  return (a @ b.T / a.shape[1] + 1) ** 3
