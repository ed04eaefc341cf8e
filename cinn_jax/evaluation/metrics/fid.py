"""FID: how far the distribution of one set of pictures is from another's.

(Heusel et al. 2017, arXiv:1706.08500, equation 6.) Every number depends on how
many pictures there are, and is too high for few: below 2,048 the covariances
are singular. Two numbers compare only where counts, protocol and network do.
"""

import numpy as np


def frechet_distance(a, b) -> float:
  """Frechet distance of the Gaussians that fit two sets of features.

  |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in float64, with
  covariances of divisor N - 1. The last trace is taken without a matrix root:
  for C_a = A^T A and C_b = B^T B it is the sum of the singular values of A B^T,
  which holds for singular covariances too.

  Args:
    a, b: features [N, D] and [M, D].

  Raises:
    ValueError: for other shapes, fewer than two pictures, or numbers that are
      not finite.
  """
  a, b = _checked(a, "a"), _checked(b, "b")
  if a.shape[1] != b.shape[1]:
    raise ValueError(
      f"Both sets need as many features; got {a.shape[1]} and {b.shape[1]}."
    )
  means = a.mean(axis=0), b.mean(axis=0)
  roots = [
    _reduced((x - mean) / np.sqrt(len(x) - 1))
    for x, mean in zip((a, b), means, strict=True)
  ]
  traces = [np.sum(np.square(root)) for root in roots]
  cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
  shift = np.sum(np.square(means[0] - means[1]))
  return float(shift + sum(traces) - 2 * cross)


def _reduced(root):
  """R with R^T R = root^T root, of at most as many rows as columns."""
  return np.linalg.qr(root, mode="r") if len(root) > root.shape[1] else root


def _checked(features, name):
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or len(features) < 2:
    raise ValueError(
      f"{name} are features [N, D] of at least two pictures, got shape"
      f" {list(features.shape)}."
    )
  if not np.isfinite(features).all():
    raise ValueError(f"{name} has features that are not finite.")
  return features
