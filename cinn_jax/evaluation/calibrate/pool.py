"""Numbers of pools: the truth of each picture together with its samples.

If a model is right, the truth and its samples are exchangeable: any of them
could be the truth. A number therefore has an exact band: choose one member of
each pool at random in place of the truth, again and again. This assumes nothing
about how the regions of a picture depend on each other.

A number is `reduce(mean over pictures of features)`, so that it can be computed
for the truth, for pictures drawn with replacement, and for random members.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LEVELS = np.arange(1, 10) / 10
_REPEATS = 1000
# If the range of a mean is smaller, all members are equal up to rounding.
_EQUAL = 1e-3


class Pool(NamedTuple):
  """The truth of each picture and its samples: M members, the truth first.

  Attributes:
    means: float32 [N, M, G, G, C], means of G x G regions. a and b, the last
      two channels, are in Lab units; RGB is in levels.
    log_prob: [N, M], ln p(x | cond) in nats.
    channels: Names of the channels to rank: RGB if there is one, else a and b.
  """

  means: np.ndarray
  log_prob: np.ndarray
  channels: tuple[str, ...]


class Measured(NamedTuple):
  """A number, or several, measured on the pictures.

  Attributes:
    value: The number for the truth.
    interval: (low, high), 95 %, by resampling pictures; None if it has no
      meaning.
    band: (low, high), which holds the number of a right model with probability
      95 %.
  """

  value: Any
  interval: tuple[Any, Any] | None = None
  band: tuple[Any, Any] | None = None


class Means(NamedTuple):
  """Means of features over pictures, for `measure`.

  Attributes:
    truth: [d], with the truth in its place.
    resampled: [1000, d], of pictures drawn with replacement.
    others: [1000, d], with random members in place of the truth.
  """

  truth: np.ndarray
  resampled: np.ndarray
  others: np.ndarray


def average(features: np.ndarray, seed: int = 0) -> Means:
  """Averages features [N, M, d]: [:, m] are those of member m as the truth."""
  features = np.asarray(features, np.float64)
  n, members = features.shape[:2]
  random = np.random.default_rng(seed)
  weights = random.multinomial(n, np.full(n, 1 / n), size=_REPEATS) / n
  flat = features.reshape(n * members, -1)
  starts = members * np.arange(n)
  others = [
    flat[starts + random.integers(members, size=n)].mean(axis=0)
    for _ in range(_REPEATS)
  ]
  truth = features[:, 0]
  return Means(truth.mean(axis=0), weights @ truth, np.stack(others))


def measure(
  means: Means, reduce: Callable[[np.ndarray], np.ndarray]
) -> Measured:
  """Measures a number, `reduce` of means [..., d] to numbers [...]."""
  truth, resampled, others = map(reduce, means)
  return Measured(truth, _central(resampled), _central(others))


def _central(numbers):
  low, high = np.quantile(numbers, [0.025, 0.975], axis=0)
  return low, high


def ranks(values: np.ndarray, seed: int = 0) -> np.ndarray:
  """Ranks the members of each pool, 0 to M - 1; breaks ties at random.

  Args:
    values: [N, M, ...].
    seed: Seed for the ties.

  Returns:
    int [N, M, ...], the number of members below each.
  """
  coins = np.random.default_rng(seed).random(values.shape, np.float32)
  order = np.lexsort((coins, values), axis=1)
  return np.argsort(order, axis=1)


def varies(values: np.ndarray) -> np.ndarray:
  """Tells if the members of a pool differ: [N, M, ...] to bool [N, ...].

  The known part of a picture with a hole is the same in truth and samples.
  """
  return np.ptp(values, axis=1) > _EQUAL


def shares_below(
  rank: np.ndarray, counted: np.ndarray, levels: np.ndarray = LEVELS
) -> np.ndarray:
  """Returns features for the share of regions whose truth is below each level.

  Args:
    rank: int [N, M, R], from `ranks`.
    counted: bool [N, R], the regions that count.
    levels: [L], quantiles of the samples.

  Returns:
    [N, M, L + 2]: the number of regions in which a member is below each level,
    the sum of its quantiles, and the number of regions. `ratio` divides.
  """
  quantile = (rank + 0.5) / rank.shape[1]
  parts = [quantile < level for level in levels] + [quantile]
  sums = [np.sum(part * counted[:, None], axis=-1) for part in parts]
  count = np.broadcast_to(counted.sum(axis=-1)[:, None], sums[0].shape)
  return np.stack([*sums, count], axis=-1).astype(np.float64)


def ratio(features: np.ndarray) -> np.ndarray:
  """Divides all features [..., d] by the last one: [..., d - 1]."""
  count = np.maximum(features[..., -1:], 1e-12)
  return features[..., :-1] / count


def expected(members: int, levels: np.ndarray = LEVELS) -> np.ndarray:
  """Returns the shares below `levels` for a right model with M members.

  They equal the levels only if M times each level is a whole number.
  """
  quantile = (np.arange(members) + 0.5) / members
  return np.mean(quantile[:, None] < np.asarray(levels)[None], axis=0)
