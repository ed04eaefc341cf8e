"""The choice of the samples to write, among those that were drawn."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from cinn_jax.sampling.numbered import Ranked

# Pictures are compared by the means of this many parts along each side.
PARTS = 8


class Choice(NamedTuple):
  """Settings that choose among samples: one of `keep`, `diverse` and `only`.

  `diverse` and `only` may also be set together.

  Attributes:
    keep: Number of samples to write, the likeliest ones; None for all.
    diverse: Number of samples to write, chosen to be far apart; None for all.
    only: Numbers of the samples to write, from 1, as they are on the sheet
      without it; empty for all.
  """

  keep: int | None = None
  diverse: int | None = None
  only: Sequence[int] = ()

  def check(self, num_samples: int) -> None:
    """Raises ValueError if the settings do not fit `num_samples`."""
    given = [
      name
      for name, value in self._asdict().items()
      if value is not None and value != ()
    ]
    if len(given) > 1 and given != ["diverse", "only"]:
      raise ValueError(
        f"--{given[0]} and --{given[1]} both choose samples: pass one of them."
      )
    for name, most in (("keep", self.keep), ("diverse", self.diverse)):
      if most is not None and not 1 <= most <= num_samples:
        raise ValueError(
          f"--{name}={most} of --num_samples={num_samples}: expected 1 to"
          f" {num_samples}, or a larger --num_samples."
        )
    flag, most = "num_samples", num_samples
    if self.diverse is not None:
      flag, most = "diverse", self.diverse
    if wrong := [k for k in self.only if not 1 <= k <= most]:
      raise ValueError(
        f"--only={wrong[0]} of --{flag}={most}: expected 1 to {most}."
      )
    if len(set(self.only)) != len(self.only):
      raise ValueError("--only names a sample twice.")

  def name(self, num_samples: int) -> str:
    """Returns the name of the chosen samples, for captions."""
    drawn = f"{num_samples} sample{'' if num_samples == 1 else 's'}"
    if self.diverse is not None:
      drawn = f"{self.diverse} of {drawn} that are far apart"
    if self.only:
      of = "of the" if self.diverse is not None else "of"
      return f"{len(self.only)} {of} {drawn}"
    if self.keep is not None:
      return f"the likeliest {self.keep} of {drawn}"
    return drawn

  def __call__(self, ranked: Ranked) -> Ranked:
    """Returns the samples to write, with their ranks and shares."""
    if self.keep is not None:
      return ranked.take(range(self.keep))
    if self.diverse is not None:
      medoids, shares = far_apart(ranked.x[ranked.order], self.diverse)
      ranked = ranked.take(medoids, renumber=True)._replace(shares=shares)
    if self.only:
      return ranked.take([k - 1 for k in sorted(self.only)])
    return ranked


ALL = Choice()


def far_apart(x: np.ndarray, count: int) -> tuple[list[int], list[float]]:
  """Chooses samples that represent all samples [n, ...], by k-medoids.

  Pictures are compared by the means of 8x8 parts, so that large areas count
  more than noise.

  Returns:
    Indices of `count` samples, and for each one the share of all samples that
    are nearest to it. The largest share comes first; shares add up to 1.
  """
  distance = _distances(x)
  medoids = _medoids(distance, count)
  shares = _shares(distance, medoids)
  order = np.argsort(-shares, kind="stable")
  return [int(medoids[k]) for k in order], [float(shares[k]) for k in order]


def shares(x: np.ndarray, chosen: Sequence[int]) -> list[float]:
  """Returns, for each chosen sample, the share of x [n, ...] nearest to it.

  Samples are compared as in `far_apart`, and the shares add up to 1.
  """
  return [float(share) for share in _shares(_distances(x), np.array(chosen))]


def _distances(x):
  """Returns the distances [n, n] of samples, by the means of their parts."""
  flat = _means(x).reshape(len(x), -1).astype(np.float32)
  squares = np.sum(flat**2, 1)
  distance = squares[:, None] + squares[None] - 2 * flat @ flat.T
  return np.sqrt(np.maximum(distance, 0))


def _shares(distance, chosen):
  nearest = np.argmin(distance[:, chosen], 1)
  # A chosen sample counts for itself, even if it equals another one.
  nearest[chosen] = np.arange(len(chosen))
  return np.bincount(nearest, minlength=len(chosen)) / len(distance)


def _means(x):
  if x.ndim != 4 or any(side % PARTS for side in x.shape[1:3]):
    return x
  n, height, width, c = x.shape
  shape = (n, PARTS, height // PARTS, PARTS, width // PARTS, c)
  return x.reshape(shape).mean((2, 4))


def _medoids(distance, count):
  """Partitions around medoids (Kaufman and Rousseeuw 1987)."""
  n = len(distance)
  chosen: list[int] = []

  def cost(medoids):
    return distance[:, medoids].min(1).sum()

  for _ in range(count):
    others = [k for k in range(n) if k not in chosen]
    chosen.append(min(others, key=lambda k: cost([*chosen, k])))
  best = cost(chosen)
  while True:
    swap = _best_swap(chosen, n, cost)
    if swap is None or swap[0] >= best - 1e-6 * best - 1e-12:
      return np.asarray(chosen)
    best, place, other = swap
    chosen[place] = other


def _best_swap(
  chosen: list[int], n: int, cost: Callable[[list[int]], float]
) -> tuple[float, int, int] | None:
  swaps = (
    (cost([*chosen[:place], other, *chosen[place + 1 :]]), place, other)
    for place in range(len(chosen))
    for other in range(n)
    if other not in chosen
  )
  return min(swaps, default=None)
