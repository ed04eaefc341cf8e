"""Latents of true pictures, which are standard normal if the model is right.

For D numbers in a level, ||z||^2 is then chi-squared with D degrees of freedom,
so u = chi2.cdf(||z||^2, D) is uniform over pictures. No samples are needed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from cinn_jax.evaluation.calibrate.lines import Line, Part
from cinn_jax.evaluation.calibrate.pool import Measured


class Latents(NamedTuple):
  """Squared norms of the latents of true pictures.

  Attributes:
    squares: [N, L], ||z||^2 by level.
    dims: [L], D of each level.
    names: Names of the levels.
  """

  squares: np.ndarray
  dims: np.ndarray
  names: Sequence[str]


def temperatures(latents: Latents) -> np.ndarray:
  """Returns sqrt(mean ||z||^2 / D) [L].

  At these temperatures the squared norms have the right mean; they maximise the
  likelihood of the pictures.
  """
  return np.sqrt(latents.squares.mean(axis=0) / latents.dims)


def pit(latents: Latents, scale: np.ndarray | float = 1.0) -> np.ndarray:
  """Returns u [N, L] at temperatures [L], or at one temperature for all."""
  return scipy.stats.chi2.cdf(latents.squares / np.square(scale), latents.dims)


def tuned_bits(latents: Latents, tuned: np.ndarray) -> np.ndarray:
  """Returns the change of bits/dim [N] of each picture at temperatures [L].

  Negative numbers are better.
  """
  halves = latents.squares / 2
  nats = halves / tuned**2 - halves + latents.dims * np.log(tuned)
  return nats.sum(axis=1) / (latents.dims.sum() * np.log(2))


def latent_pit(
  latents: Latents,
  tuned: np.ndarray,
  held: str = "validation pictures",
  seed: int = 0,
) -> Part:
  """Measures latents, as they are and at temperatures tuned on other pictures.

  Bands come from exact distributions: Kolmogorov's for KS, and chi-squared, of
  all n D numbers together, for the temperature. That of the mean of n uniform
  numbers is their normal limit.

  Args:
    latents: Latents of the test pictures.
    tuned: [L], `temperatures` of other pictures.
    held: Name of those pictures.
    seed: Seed for the intervals.
  """
  n = len(latents.squares)
  plain, scaled = pit(latents), pit(latents, tuned)
  ks_band = scipy.stats.kstwo.ppf([0.025, 0.975], n)
  half = 1.96 / np.sqrt(12 * n)
  lines = []
  for k, (name, dims) in enumerate(
    zip(latents.names, latents.dims, strict=True)
  ):
    squares, u = latents.squares[:, k], plain[:, k]
    total = scipy.stats.chi2.ppf([0.025, 0.975], n * dims) / (n * dims)
    tuned_ks = _interval(scaled[:, k], _distance, seed)
    lines += [
      Line(name, "mean u", _with_band(_interval(u, np.mean, seed), 0.5, half)),
      Line(
        name, "KS", _interval(u, _distance, seed)._replace(band=tuple(ks_band))
      ),
      Line(
        name,
        "temperature by the test pictures",
        _interval(
          squares, lambda s, d=dims: np.sqrt(np.mean(s) / d), seed
        )._replace(band=tuple(np.sqrt(total))),
      ),
      Line(name, f"temperature tuned on {held}", Measured(tuned[k])),
      Line(name, "KS, tuned", tuned_ks._replace(band=tuple(ks_band))),
    ]
  change = _interval(tuned_bits(latents, tuned), np.mean, seed)
  lines.append(Line("x", "change of bits/dim, tuned", change))
  return Part("Latent PIT", lines)


def _with_band(measured, middle, half):
  return measured._replace(band=(middle - half, middle + half))


def _distance(u):
  """Returns the Kolmogorov-Smirnov distance of u [N] to uniform."""
  ordered, n = np.sort(u), len(u)
  above = np.arange(1, n + 1) / n - ordered
  return max(above.max(), (1 / n - above).max())


def _interval(values, function, seed, repeats=500):
  random = np.random.default_rng(seed)
  n = len(values)
  numbers = [
    function(values[random.integers(n, size=n)]) for _ in range(repeats)
  ]
  low, high = np.quantile(numbers, [0.025, 0.975])
  return Measured(function(values), (low, high))
