"""The FIDs of a table of samples, by both protocols in use."""

import os
from collections.abc import Mapping

import numpy as np

from cinn_jax.evaluation.metrics import inception
from cinn_jax.evaluation.metrics.fid import frechet_distance
from cinn_jax.evaluation.tables import table

# With fewer pictures than features, covariances are singular.
FEW = inception.FEATURES
_NETWORK = (
  "Inception of 2015-12-05, 2,048 features, bilinear to 299 without"
  " antialiasing; no interval, since resampling pictures makes it larger"
)
FIDS = {
  "fid_matching": table.Metric(
    "FID, matching",
    "1",
    "one picture for each that is given, against the very pictures that were"
    f" sought; {_NETWORK}",
    "set against set",
  ),
  "fid_halves": table.Metric(
    "FID, halves",
    "1",
    "one picture for each of a random half, against the real pictures of the"
    " other half; of real pictures it is the least to expect",
    "set against set",
  ),
}


def fids(
  real: np.ndarray,
  sets: Mapping[str, np.ndarray | None],
  order: np.ndarray,
  weights: str | os.PathLike = inception.WEIGHTS,
) -> tuple[dict[str, dict[str, float]], list[str]]:
  """Returns `({set: {metric: FID}}, notes)` of sets of pictures.

  Args:
    real: Real pictures, uint8 [N, H, W, 3].
    sets: By name, pictures with one for each of `real`, or None to skip the
      set. `real` itself gets no FID by matching.
    order: A permutation of N that determines the halves.
    weights: The network's weights. Without them there is no FID, and a note
      says how to get them.
  """
  half = len(real) // 2
  if half < 2:
    return {}, ["FID takes at least four pictures."]
  try:
    extract = inception.make_extractor(weights)
  except FileNotFoundError as error:
    return {}, [str(error)]
  features_of_real = extract(real)
  results = {}
  for name, pictures in sets.items():
    if pictures is None:
      continue
    is_real = pictures is real
    features = features_of_real if is_real else extract(pictures)
    results[name] = {
      "fid_halves": frechet_distance(
        features[order[:half]], features_of_real[order[half : 2 * half]]
      )
    }
    if not is_real:
      results[name]["fid_matching"] = frechet_distance(
        features, features_of_real
      )
  note = (
    f"FID of {len(real):,} pictures, or of halves of {half:,}: compare it only"
    " with FIDs of the same number of pictures."
  )
  if half < FEW:
    note += f" Below {FEW:,} it is far too large."
  return results, [note]
