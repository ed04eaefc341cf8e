"""FIDs for a table of samples, by both common protocols, and the KID."""

import os
from collections.abc import Callable, Mapping

import numpy as np

from cinn_jax.evaluation.metrics import inception
from cinn_jax.evaluation.metrics.fid import frechet_distance
from cinn_jax.evaluation.metrics.kid import kernel_distance
from cinn_jax.evaluation.tables import table

# With fewer pictures than features, covariances are singular.
FEW = inception.FEATURES
_NETWORK = (
  "Inception of 2015-12-05, 2,048 features, bilinear to 299 without"
  " antialiasing"
)
_NO_INTERVAL = "no interval, since resampling pictures would increase it"
FIDS = {
  "fid_matching": table.Metric(
    "FID, matching",
    "1",
    "one picture for each input, against the true pictures themselves;"
    f" {_NETWORK}; {_NO_INTERVAL}",
    "set against set",
  ),
  "kid": table.Metric(
    "KID",
    "1e-3",
    "one picture for each input, against the true pictures, unbiased;"
    f" {_NETWORK}; interval by the jackknife",
    "set against set",
  ),
  "fid_halves": table.Metric(
    "FID, halves",
    "1",
    "one picture for each of a random half, against the real pictures of the"
    " other half; the FID of real pictures is the lowest to expect;"
    f" {_NO_INTERVAL}",
    "set against set",
  ),
}


def fids(
  real: np.ndarray,
  sets: Mapping[str, np.ndarray | None],
  order: np.ndarray,
  weights: str | os.PathLike = inception.WEIGHTS,
) -> tuple[dict[str, dict[str, table.Measured]], list[str]]:
  """Returns `({set: {metric: (distance, interval)}}, notes)` of picture sets.

  Args:
    real: Real pictures, uint8 [N, H, W, 3].
    sets: Pictures by name, one for each of `real`, or None to skip a set.
      `real` itself gets no matching FID.
    order: A permutation of N that determines the halves.
    weights: The network's weights. Without them there is no FID, and a note
      says how to get them.
  """
  if len(real) < 4:
    return {}, ["FID needs at least four pictures."]
  try:
    extract = inception.make_extractor(weights)
  except FileNotFoundError as error:
    return {}, [str(error)]
  return distances(real, sets, order, extract)


def distances(
  real: np.ndarray,
  sets: Mapping[str, np.ndarray | None],
  order: np.ndarray,
  extract: Callable[[np.ndarray], np.ndarray],
) -> tuple[dict[str, dict[str, table.Measured]], list[str]]:
  """Returns the results of `fids`, with features from `extract`."""
  half = len(real) // 2
  features_of_real = extract(real)
  results: dict[str, dict[str, table.Measured]] = {}
  for name, pictures in sets.items():
    if pictures is None:
      continue
    is_real = pictures is real
    features = features_of_real if is_real else extract(pictures)
    results[name] = {
      "fid_halves": (
        frechet_distance(
          features[order[:half]], features_of_real[order[half : 2 * half]]
        ),
        None,
      )
    }
    if not is_real:
      matching = frechet_distance(features, features_of_real)
      results[name]["fid_matching"] = matching, None
      results[name]["kid"] = _in_thousandths(
        *kernel_distance(features, features_of_real)
      )
  note = (
    f"FID of {len(real):,} pictures, or of halves of {half:,}: compare it only"
    " with FIDs of as many pictures."
  )
  if half < FEW:
    note += f" Below {FEW:,} it is far too large."
  return results, [note]


def _in_thousandths(value, interval):
  if interval is not None:
    interval = 1e3 * interval[0], 1e3 * interval[1]
  return 1e3 * value, interval
