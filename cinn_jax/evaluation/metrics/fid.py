"""FID: the distance between the distributions of two sets of pictures.

(Heusel et al. 2017, arXiv:1706.08500, equation 6.) The FID depends on the
number of pictures, and is too high for few: below 2,048 the covariances are
singular. Two FIDs are comparable only for equal counts, protocol and network.
"""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the Frechet distance of Gaussians fitted to two sets of features.

  |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in float64, with
  covariances of divisor N - 1. The last trace needs no matrix root: for
  C_a = A^T A and C_b = B^T B it is the sum of the singular values of A B^T,
  which also holds for singular covariances.

  Args:
    a: Features [N, D].
    b: Features [M, D].

  Raises:
    ValueError: for other shapes, fewer than two pictures, or numbers that are
      not finite.
  """
  a, b = check_features(a, "a"), check_features(b, "b")
  if a.shape[1] != b.shape[1]:
    raise ValueError(
      f"Both sets need equally many features; got {a.shape[1]} and"
      f" {b.shape[1]}."
    )
  means = a.mean(axis=0), b.mean(axis=0)
  roots = [
    _fewer_rows((x - mean) / np.sqrt(len(x) - 1))
    for x, mean in zip((a, b), means, strict=True)
  ]
  traces = [np.sum(np.square(root)) for root in roots]
  cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
  shift = np.sum(np.square(means[0] - means[1]))
  return float(shift + sum(traces) - 2 * cross)


def _fewer_rows(root):
  """Returns R with R^T R = root^T root and at most as many rows as columns."""
  return np.linalg.qr(root, mode="r") if len(root) > root.shape[1] else root


def check_features(features: np.ndarray, name: str) -> np.ndarray:
  """Returns features [N, D] of at least two pictures, float64.

  Raises:
    ValueError: for other shapes or numbers; the message has `name`.
  """
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or len(features) < 2:
    raise ValueError(
      f"{name} must be features [N, D] of at least two pictures, got shape"
      f" {list(features.shape)}."
    )
  if not np.isfinite(features).all():
    raise ValueError(f"{name} has features that are not finite.")
  return features
