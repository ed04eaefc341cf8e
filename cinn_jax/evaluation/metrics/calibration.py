"""Tests of posterior samples, on average and for one observation.

Ranks, coverage of central intervals and TARP test a posterior on average over
simulations (theta, x), from samples of theta given each x. A correct posterior
passes them all. One that passes may still be wrong, so use several. `c2st`
tests one observation whose posterior is known.

Arrays are numpy: truth [N, D], the parameters of N simulations, and samples
[N, L, D], L draws from the posterior given each simulation. The numbers vary by
chance: `rank_test` gives a p-value, and `calibration_plots` draws bands.
"""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits


def sbc_ranks(truth: np.ndarray, samples: np.ndarray) -> np.ndarray:
  """Counts the samples below the truth, per parameter: int [N, D].

  Simulation-based calibration (Talts et al. 2018, algorithm 1): for a correct
  posterior, ranks are uniform over 0 to L. A peak in the middle means that the
  posterior is too wide, peaks at both ends that it is too narrow, a peak at one
  end that it is biased. Samples of one simulation must be independent, as a
  flow's are.

  Args:
    truth: [N, D].
    samples: [N, L, D].

  Raises:
    ValueError: for arrays of other shapes, or numbers that are not finite.
  """
  truth, samples = _check_pair(truth, samples)
  return np.sum(samples < truth[:, None], axis=1)


def tarp_ranks(
  truth: np.ndarray,
  samples: np.ndarray,
  references: np.ndarray | None = None,
  seed: int = 0,
) -> np.ndarray:
  """Counts the samples that are nearer to a point than the truth: int [N, 1].

  TARP, tests of accuracy with random points (Lemos et al. 2023, section 3.2):
  for a correct posterior, these ranks are uniform over 0 to L, too. Unlike
  ranks per parameter they detect wrong dependences between parameters.
  Distances are Euclidean after each parameter's range over `truth` is scaled to
  [0, 1].

  Args:
    truth: [N, D].
    samples: [N, L, D].
    references: The points [N, D]. By default they are uniform over the range of
      the truth. Only points that depend on x can distinguish a correct
      posterior from the prior.
    seed: Seed for the default points.

  Raises:
    ValueError: for arrays of other shapes, or numbers that are not finite.
  """
  truth, samples = _check_pair(truth, samples)
  low, high = truth.min(axis=0), truth.max(axis=0)
  width = np.where(high > low, high - low, 1.0)
  if references is None:
    random = np.random.default_rng(seed)
    references = low + width * random.uniform(size=truth.shape)
  references = np.asarray(references, np.float64)
  if references.shape != truth.shape:
    raise ValueError(
      f"references must be one per truth, {list(truth.shape)}; got"
      f" {list(references.shape)}."
    )

  def distance(points, references):
    return np.linalg.norm((points - references) / width, axis=-1)

  nearer = (
    distance(samples, references[:, None])
    < (distance(truth, references)[:, None])
  )
  return np.sum(nearer, axis=1)[:, None]


def rank_test(
  ranks: np.ndarray, num_samples: int, bins: int = 20
) -> np.ndarray:
  """Tests that ranks [N, D] over 0 to num_samples are uniform: p-values [D].

  This is Pearson's chi-squared test over at most `bins` bins; fewer if they
  would hold fewer than 5 ranks on average.

  Raises:
    ValueError: for ranks out of range, or fewer than 10 of them.
  """
  ranks = check_ranks(ranks, num_samples)
  if len(ranks) < 10:
    raise ValueError(f"A test needs at least 10 ranks, got {len(ranks)}.")
  counts, expected = bin_counts(ranks, num_samples, min(bins, len(ranks) // 5))
  statistic = np.sum((counts - expected) ** 2 / expected, axis=1)
  return scipy.stats.chi2.sf(statistic, len(expected[0]) - 1)


def bin_counts(
  ranks: np.ndarray, num_samples: int, bins: int
) -> tuple[np.ndarray, np.ndarray]:
  """Counts ranks 0 to num_samples: (counts [D, bins], expected [1, bins]).

  Bins differ by at most one in the number of ranks that they cover.
  """
  bins = min(bins, num_samples + 1)
  parts = np.array_split(np.arange(num_samples + 1), bins)
  sizes = np.array([len(part) for part in parts])
  bin_of = np.repeat(np.arange(bins), sizes)
  counts = [np.bincount(bin_of[r], minlength=bins) for r in ranks.T]
  return np.array(counts), len(ranks) * sizes[None] / (num_samples + 1)


def central_coverage(
  ranks: np.ndarray, num_samples: int, levels: Sequence[float]
) -> np.ndarray:
  """Returns how often the central interval holds the truth: [levels, D].

  The interval of level 0.9 reaches from the 5 % to the 95 % quantile of the
  posterior. For a correct posterior, coverage is the level, within
  1 / (num_samples + 1) and chance. A smaller coverage means overconfidence.

  Args:
    ranks: Result of `sbc_ranks`.
    num_samples: L.
    levels: Levels in [0, 1].
  """
  distance = np.abs(quantiles(ranks, num_samples) - 0.5)
  return np.mean(distance <= _check_levels(levels) / 2, axis=1)


def tarp_coverage(
  ranks: np.ndarray, num_samples: int, levels: Sequence[float]
) -> np.ndarray:
  """Returns the expected coverage of TARP's regions: [levels, 1].

  For a correct posterior, it is the level (Lemos et al. 2023, algorithm 2).

  Args:
    ranks: Result of `tarp_ranks`.
    num_samples: L.
    levels: Levels in [0, 1].
  """
  return np.mean(quantiles(ranks, num_samples) < _check_levels(levels), axis=1)


def quantiles(ranks: np.ndarray, num_samples: int) -> np.ndarray:
  """Maps ranks [N, D] to (0, 1): rank r to (r + 0.5) / (num_samples + 1)."""
  return (check_ranks(ranks, num_samples) + 0.5) / (num_samples + 1)


def c2st(
  samples: np.ndarray,
  reference: np.ndarray,
  *,
  seed: int = 1,
  folds: int = 5,
) -> float:
  """Returns how accurately a classifier separates two sets of samples.

  Classifier two-sample test (Lopez-Paz and Oquab 2017) by the protocol of
  Lueckmann et al. 2021: the cross-validated accuracy of a network with two
  hidden layers of 10 D units, after the reference is standardised to zero mean
  and unit variance. It is 0.5 for equal distributions and 1 for distributions
  that do not overlap.

  Args:
    samples: [N, D].
    reference: [M, D]. Use M = N: for sets of different sizes even guessing
      scores above 0.5.
    seed: Seed for the network and the folds.
    folds: Folds of the cross-validation.

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
      f"{folds} folds need at least {folds} samples of each kind, got"
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
  # Such small products are slower on several threads, much more so on a busy
  # machine.
  with threadpool_limits(1):
    return float(np.mean(cross_val_score(network, data, label, cv=split)))


def check_ranks(ranks: np.ndarray, num_samples: int) -> np.ndarray:
  """Returns `ranks` as an integer array [N, D], or raises ValueError."""
  ranks = np.asarray(ranks)
  if ranks.ndim != 2 or not np.issubdtype(ranks.dtype, np.integer):
    raise ValueError(
      f"ranks must be integers [N, D], got {ranks.dtype} {list(ranks.shape)}."
    )
  if ranks.size == 0 or ranks.min() < 0 or ranks.max() > num_samples:
    raise ValueError(
      f"ranks of {num_samples} samples must be 0 to {num_samples}, at least"
      f" one; got {list(ranks.shape)}"
      + (f" of {ranks.min()} to {ranks.max()}." if ranks.size else ".")
    )
  return ranks


def _check_levels(levels):
  levels = np.asarray(levels, np.float64)
  if levels.ndim != 1 or np.any(levels < 0) or np.any(levels > 1):
    raise ValueError(
      f"levels must be a list of numbers from 0 to 1, got {levels}."
    )
  return levels[:, None, None]


def _check_pair(truth, samples):
  truth = _floats(truth, "truth", 2)
  samples = _floats(samples, "samples", 3)
  if samples.shape[::2] != truth.shape:
    raise ValueError(
      f"truth must be [N, D], samples [N, L, D]; got {list(truth.shape)} and"
      f" {list(samples.shape)}."
    )
  return truth, samples


def _floats(values, name, rank):
  values = np.asarray(values, np.float64)
  if values.ndim != rank or values.size == 0:
    shape = "[N, D]" if rank == 2 else "[N, L, D]"
    raise ValueError(f"{name} must be {shape}, got {list(values.shape)}.")
  if not np.isfinite(values).all():
    raise ValueError(f"{name} has numbers that are not finite.")
  return values
