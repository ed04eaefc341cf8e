"""Scores of drawn digits for `claims.py`, by a classifier of real ones."""

import functools
from typing import Any

import claim_scores
import jax
import jax.numpy as jnp
import numpy as np
import optax
from claim_training import Trained, Trainer

from cinn_jax.evaluation.by_task import class_metrics, classifier
from cinn_jax.evaluation.metrics import restoration
from cinn_jax.evaluation.metrics.precision_recall import precision_recall
from cinn_jax.images import sheets


class Digits:
  """A classifier of real digits, to score drawn ones.

  Args:
    records: Digits to train it on.
    seed: Seed for its training.
  """

  def __init__(self, records: dict[str, np.ndarray], seed: int = 0):
    grey, labels = records["image"][..., 0], records["label"]
    net = classifier.GreyNet(10)

    def logits(params, pictures, rng=None):
      del rng
      return net.apply(params, _units(pictures))

    def features(params, pictures):
      _, kept = net.apply(
        params,
        _units(pictures),
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      (hidden,) = kept["intermediates"]["Dense_0"]["__call__"]
      return jax.nn.relu(hidden)

    params = classifier.fit_logits(
      logits,
      jax.jit(net.init)(jax.random.key(seed), _units(grey[:1])),
      optax.adam(
        optax.cosine_decay_schedule(classifier.RATE, classifier.STEPS)
      ),
      pictures=grey,
      labels=labels,
      steps=classifier.STEPS,
      batch_size=classifier.BATCH,
      seed=seed,
    )
    self.classify = classifier.make_classify(logits, params)
    self._features = jax.jit(functools.partial(features, params))

  def features(self, grey: np.ndarray) -> np.ndarray:
    """Returns the last hidden layer [N, 128] of pictures uint8 [N, S, S]."""
    parts = np.array_split(grey, -(-len(grey) // classifier.CHUNK))
    return np.concatenate([np.asarray(self._features(part)) for part in parts])


def _units(grey):
  return jnp.asarray(grey, jnp.float32)[..., None] / 255


def of_digits(
  trainer: Trainer,
  trained: Trained,
  records: dict[str, np.ndarray],
  judge: Digits,
  scale: Any = 1.0,
) -> tuple[dict[str, float], np.ndarray]:
  """Returns scores of digits that were drawn for the test labels."""
  samples = claim_scores.Sampler(trainer, claim_scores.FEW)(
    trained.variables, records, scale
  )
  grey, truth = samples[..., 0], records["image"][..., 0]
  labels = records["label"]
  flat = grey.reshape(-1, *grey.shape[2:])
  right = judge.classify(flat).reshape(grey.shape[:2]) == labels[:, None]
  # One sample for each real digit, so that both sets are of one size.
  near = precision_recall(judge.features(truth), judge.features(grey[:, 0]))
  spread, real = (
    np.sqrt(np.mean(class_metrics.spread(part, labels) ** 2))
    for part in (grey, truth[:, None])
  )
  errors = np.stack(
    [
      restoration.rmse(records["image"], samples[:, k])
      for k in range(claim_scores.FEW)
    ]
  )
  mean = np.repeat(truth.mean(axis=0)[None, ..., None], 3, axis=-1)
  plain = np.broadcast_to(np.round(mean).astype(np.uint8), samples[:, 0].shape)
  measures = {
    "rmse_of_one": float(errors[0].mean()),
    "rmse_of_best": float(errors.min(axis=0).mean()),
    "rmse_without_model": float(
      restoration.rmse(records["image"], plain).mean()
    ),
    "pixel_std": float(restoration.pixel_std(samples).mean()),
    "classified_as_asked": 100 * float(right.mean()),
    "classified_real": 100 * float((judge.classify(truth) == labels).mean()),
    "spread": float(spread),
    "spread_of_real": float(real),
    "precision": near.precision,
    "recall": near.recall,
    "distinct": claim_scores.distinct_share(samples),
    "energy_score": claim_scores.energy_score(records["image"], samples),
  }
  return measures, _digit_sheet(samples, labels)


def _digit_sheet(samples, labels):
  firsts = [int(np.argmax(labels == label)) for label in range(10)]
  return sheets.contact_sheet(
    [list(samples[k]) for k in firsts],
    [f"sample {k + 1}" for k in range(claim_scores.FEW)],
    [str(label) for label in range(10)],
    cell=56,
    note="in the order of drawing",
  )
