"""Scores of samples of colours: errors, spread, and things in one colour."""

from collections.abc import Callable, Iterator

import color_models
import jax
import numpy as np
from skimage.segmentation import felzenszwalb

from cinn_jax.data.views import Views
from cinn_jax.sampling import draw
from cinn_jax.tasks.colorize import denormalize_ab

SAMPLES = 8
# Largest |a| or |b| that counts as a colour; those of photographs reach 72.
GAMUT = 110
_BATCH = 8


def score(trained: color_models.Trained, views: Views) -> dict[str, float]:
  """Returns the scores of eight samples of each view, in Lab units.

  rmse: root mean square error of the first sample, mean over views
  best: the same for the best of 8
  grey: the same for a picture without colours
  spread: standard deviation of the samples' a and b at a cell (root of the mean
    variance)
  out: share of samples with a cell beyond `GAMUT`
  between: share of the samples' variance that lies between the segments of the
    photograph (Felzenszwalb's), not within them
  """
  rows = [_scores(*each) for each in _samples(trained, views)]
  means = {n: float(np.mean([row[n] for row in rows])) for n in rows[0]}
  between, variance = means.pop("between"), means.pop("variance")
  return {**means, "spread": variance**0.5, "between": between / variance}


def sheet(trained: color_models.Trained, views: Views, note: str) -> np.ndarray:
  """Draws the first sixteen views: grey, truth and eight samples each."""
  batch = views.batch(np.arange(min(16, len(views))))
  sampler = draw.make_sampler(trained.flow, trained.task, num_samples=SAMPLES)
  given, samples, log_prob = jax.jit(sampler)(
    trained.variables, jax.random.key(0), batch
  )
  return draw.contact_sheet(
    trained.task, batch["image"], given, samples, log_prob, note=note
  )


def make_sampling(
  trained: color_models.Trained, views: Views
) -> Callable[[], None]:
  """Returns a function that draws eight samples of one photograph."""
  _, cond = jax.jit(trained.task.prepare)(views.batch(np.arange(1)))
  draw_them = _drawer(trained)

  def sample() -> None:
    jax.block_until_ready(draw_them(trained.variables, jax.random.key(0), cond))

  return sample


def _drawer(trained):
  return jax.jit(
    lambda variables, rng, cond: trained.flow.sample(
      variables, rng, cond, SAMPLES
    )[0]
  )


def _samples(
  trained: color_models.Trained, views: Views
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Yields each view's picture, true ab and samples of ab, in Lab units."""
  prepare, draw_them = jax.jit(trained.task.prepare), _drawer(trained)
  to_lab = jax.jit(denormalize_ab)
  for first in range(0, len(views), _BATCH):
    rows = np.minimum(np.arange(first, first + _BATCH), len(views) - 1)
    batch = views.batch(rows)
    truth, cond = prepare(batch)
    rng = jax.random.fold_in(jax.random.key(1), first)
    samples = to_lab(draw_them(trained.variables, rng, cond))
    for k in range(min(_BATCH, len(views) - first)):
      yield (
        batch["image"][k],
        np.asarray(to_lab(truth[k]), np.float64),
        np.asarray(samples[k], np.float64),
      )


def _scores(picture, truth, samples):
  errors = np.sqrt(np.mean((samples - truth[None]) ** 2, (1, 2, 3)))
  deviations = samples - samples.mean(0, keepdims=True)
  variance = np.mean(deviations**2)
  labels = _segments(picture, truth.shape[0])
  masks = labels.reshape(1, -1) == np.unique(labels).reshape(-1, 1)
  weights = masks.mean(1)
  flat = deviations.reshape(len(samples), -1, 2)
  means = np.einsum("kc,scd->skd", masks / masks.sum(1, keepdims=True), flat)
  between = np.mean(np.einsum("k,skd->sd", weights, means**2))
  return {
    "rmse": errors[0],
    "best": errors.min(),
    "grey": np.sqrt(np.mean(truth**2)),
    "out": np.mean(np.abs(samples).max((1, 2, 3)) > GAMUT),
    "variance": variance,
    "between": between,
  }


def _segments(picture, side):
  """Returns the label of each cell's middle pixel, [side, side]."""
  labels = felzenszwalb(picture, scale=200, sigma=0.8, min_size=64)
  n = len(picture) // side
  return labels[n // 2 :: n, n // 2 :: n]
