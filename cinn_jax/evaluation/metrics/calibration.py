"""Whether posterior samples are right, on average and for one observation.

On average over simulations (theta, x), with samples of theta given each x:
ranks, coverage of central intervals, and TARP. A posterior that is right passes
them all; one that passes may still be wrong, so use several. For one
observation whose posterior is known: `c2st`.

Arrays are numpy: truth [N, D], the parameters that were simulated from; samples
[N, L, D], L draws of the posterior given each simulation. What passes is a
matter of chance: `rank_test` gives a p-value, and `calibration_plots` bands.
"""

import numpy as np
import scipy.stats
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits


def sbc_ranks(truth, samples):
  """How many of L samples lie below the truth, per parameter: int [N, D].

  Simulation-based calibration (Talts et al. 2018, algorithm 1): if the
  posterior is right, ranks are uniform over 0 to L. A hump in their middle
  means that it is too wide, a heap at both ends too narrow, at one end biased.
  Samples of one simulation must be independent, as a flow's are.

  Raises:
    ValueError: for arrays of other shapes, or numbers that are not finite.
  """
  truth, samples = _checked(truth, samples)
  return np.sum(samples < truth[:, None], axis=1)


def tarp_ranks(truth, samples, references=None, seed=0):
  """How many of L samples lie nearer to a point than the truth: int [N, 1].

  TARP, tests of accuracy with random points (Lemos et al. 2023, section 3.2):
  if the posterior is right, these too are uniform over 0 to L, and unlike ranks
  per parameter they see wrong dependences between parameters. Distances are
  Euclidean after every parameter's range over `truth` is brought to [0, 1].

  Args:
    references: the points [N, D]. Default: uniform over the truths' range. Only
      points that depend on x can tell a right posterior from the prior.
    seed: of the default points.
  """
  truth, samples = _checked(truth, samples)
  low, high = truth.min(axis=0), truth.max(axis=0)
  width = np.where(high > low, high - low, 1.0)
  if references is None:
    random = np.random.default_rng(seed)
    references = low + width * random.uniform(size=truth.shape)
  references = np.asarray(references, np.float64)
  if references.shape != truth.shape:
    raise ValueError(
      f"references are one per truth, {list(truth.shape)}; got"
      f" {list(references.shape)}."
    )

  def distance(points, references):
    return np.linalg.norm((points - references) / width, axis=-1)

  nearer = (
    distance(samples, references[:, None])
    < (distance(truth, references)[:, None])
  )
  return np.sum(nearer, axis=1)[:, None]


def rank_test(ranks, num_samples, bins=20):
  """p-values [D] that ranks [N, D] over 0 to num_samples are uniform.

  Pearson's chi-squared test over at most `bins` bins, fewer where they would
  hold fewer than 5 on average.

  Raises:
    ValueError: for ranks out of range, or fewer than 10 of them.
  """
  ranks = check_ranks(ranks, num_samples)
  if len(ranks) < 10:
    raise ValueError(f"A test takes at least 10 ranks, got {len(ranks)}.")
  counts, expected = binned(ranks, num_samples, min(bins, len(ranks) // 5))
  statistic = np.sum((counts - expected) ** 2 / expected, axis=1)
  return scipy.stats.chi2.sf(statistic, len(expected[0]) - 1)


def binned(ranks, num_samples, bins):
  """(counts [D, bins], expected [1, bins]) of ranks 0 to num_samples.

  Bins differ by at most one in how many ranks they take.
  """
  bins = min(bins, num_samples + 1)
  parts = np.array_split(np.arange(num_samples + 1), bins)
  sizes = np.array([len(part) for part in parts])
  bin_of = np.repeat(np.arange(bins), sizes)
  counts = [np.bincount(bin_of[r], minlength=bins) for r in ranks.T]
  return np.array(counts), len(ranks) * sizes[None] / (num_samples + 1)


def central_coverage(ranks, num_samples, levels):
  """How often the central interval holds the truth: [levels, D].

  From `sbc_ranks`: the interval of level 0.9 reaches from the 5 % to the 95 %
  quantile of the posterior. If the posterior is right, coverage is the level,
  within 1 / (num_samples + 1) and chance. Less means overconfident.
  """
  distance = np.abs(quantiles(ranks, num_samples) - 0.5)
  return np.mean(distance <= _levels(levels) / 2, axis=1)


def tarp_coverage(ranks, num_samples, levels):
  """Expected coverage of TARP's regions: [levels, 1], from `tarp_ranks`.

  (Lemos et al. 2023, algorithm 2.) If the posterior is right, it is the level.
  """
  return np.mean(quantiles(ranks, num_samples) < _levels(levels), axis=1)


def quantiles(ranks, num_samples):
  """Ranks [N, D] as numbers in the middle of (0, 1)'s num_samples + 1 parts."""
  return (check_ranks(ranks, num_samples) + 0.5) / (num_samples + 1)


def c2st(samples, reference, *, seed=1, folds=5):
  """How well a classifier tells two sets of samples [N, D] apart.

  Classifier two-sample test (Lopez-Paz and Oquab 2017) by the protocol of
  Lueckmann et al. 2021: accuracy in cross-validation of a network of two hidden
  layers of 10 D units, after bringing the reference to zero mean and unit
  variance. 0.5 where they are alike, 1 where they are apart.

  Args:
    samples, reference: [N, D] and [M, D], best equally many: of unequal sets
      even guessing is better than 0.5.
    seed: of the network and the folds.
    folds: of the cross-validation.

  Raises:
    ValueError: for other shapes, numbers that are not finite, a parameter that
      does not vary in the reference, or fewer samples than folds.
  """
  samples, reference = (
    _floats(values, name, 2)
    for name, values in (("samples", samples), ("reference", reference))
  )
  if samples.shape[1] != reference.shape[1]:
    raise ValueError(
      f"samples have {samples.shape[1]} parameters, the reference"
      f" {reference.shape[1]}."
    )
  if min(len(samples), len(reference)) < folds:
    raise ValueError(
      f"{folds} folds take at least {folds} samples of each kind, got"
      f" {len(samples)} and {len(reference)}."
    )
  mean, std = reference.mean(axis=0), reference.std(axis=0, ddof=1)
  if not std.all():
    raise ValueError(
      f"Parameter {int(np.argmin(std))} does not vary in the reference."
    )
  width = 10 * reference.shape[1]
  network = MLPClassifier(
    hidden_layer_sizes=(width, width), max_iter=10_000, random_state=seed
  )
  data = (np.concatenate([reference, samples]) - mean) / std
  label = np.repeat([0, 1], [len(reference), len(samples)])
  split = KFold(folds, shuffle=True, random_state=seed)
  # So small products are slower on several threads, by far on a busy machine.
  with threadpool_limits(1):
    return float(np.mean(cross_val_score(network, data, label, cv=split)))


def check_ranks(ranks, num_samples):
  """`ranks` as an integer array [N, D]; raises ValueError for others."""
  ranks = np.asarray(ranks)
  if ranks.ndim != 2 or not np.issubdtype(ranks.dtype, np.integer):
    raise ValueError(
      f"ranks are integers [N, D], got {ranks.dtype} {list(ranks.shape)}."
    )
  if ranks.size == 0 or ranks.min() < 0 or ranks.max() > num_samples:
    raise ValueError(
      f"ranks of {num_samples} samples are 0 to {num_samples}, at least one;"
      f" got {list(ranks.shape)}"
      + (f" of {ranks.min()} to {ranks.max()}." if ranks.size else ".")
    )
  return ranks


def _levels(levels):
  levels = np.asarray(levels, np.float64)
  if levels.ndim != 1 or np.any(levels < 0) or np.any(levels > 1):
    raise ValueError(f"levels are numbers from 0 to 1 in a list, got {levels}.")
  return levels[:, None, None]


def _checked(truth, samples):
  truth = _floats(truth, "truth", 2)
  samples = _floats(samples, "samples", 3)
  if samples.shape[::2] != truth.shape:
    raise ValueError(
      f"truth is [N, D] and samples are [N, L, D]; got {list(truth.shape)} and"
      f" {list(samples.shape)}."
    )
  return truth, samples


def _floats(values, name, rank):
  values = np.asarray(values, np.float64)
  if values.ndim != rank or values.size == 0:
    wanted = "[N, D]" if rank == 2 else "[N, L, D]"
    raise ValueError(f"{name} is {wanted}, got shape {list(values.shape)}.")
  if not np.isfinite(values).all():
    raise ValueError(f"{name} has numbers that are not finite.")
  return values
