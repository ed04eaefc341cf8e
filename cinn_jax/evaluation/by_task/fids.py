"""The FIDs of a table of samples, by both protocols in use."""

from cinn_jax.evaluation.metrics import inception
from cinn_jax.evaluation.metrics.fid import frechet_distance
from cinn_jax.evaluation.tables import table

# Below as many pictures as features, covariances are singular.
FEW = inception.FEATURES
_NETWORK = (
  "Inception of 2015-12-05, 2,048 features, bilinear to 299 without"
  " antialiasing; no interval, since resampling pictures makes it larger"
)
FIDS = {
  "fid_matching": table.Metric(
    *("FID, matching", "1"),
    "one picture for each that is given, against the very pictures that were"
    f" sought; {_NETWORK}",
    "set against set",
  ),
  "fid_halves": table.Metric(
    *("FID, halves", "1"),
    "one picture for each of a random half, against the real pictures of the"
    " other half; of real pictures it is the least to expect",
    "set against set",
  ),
}


def fids(real, sets, order, weights=inception.WEIGHTS):
  """`({name: {metric: FID}}, lines)` of sets of pictures.

  Args:
    real: uint8 [N, H, W, 3].
    sets: by name, what was made for each of `real`, or None; `real` itself has
      no FID of matching.
    order: a permutation of N, which tells the halves.
    weights: of the network; without them there is a line that says so.
  """
  half = len(real) // 2
  if half < 2:
    return {}, ["FID takes at least four pictures."]
  try:
    extract = inception.make_extractor(weights)
  except FileNotFoundError as error:
    return {}, [str(error)]
  wanted = extract(real)
  found = {}
  for name, pictures in sets.items():
    if pictures is None:
      continue
    made = wanted if pictures is real else extract(pictures)
    found[name] = {
      "fid_halves": frechet_distance(
        made[order[:half]], wanted[order[half : 2 * half]]
      )
    }
    if pictures is not real:
      found[name]["fid_matching"] = frechet_distance(made, wanted)
  lines = [
    f"FID of {len(real):,} pictures, or of halves of {half:,}: compare it only"
    " with others of as many."
  ]
  if half < FEW:
    lines[0] += f" Below {FEW:,} it is far too large."
  return found, lines
