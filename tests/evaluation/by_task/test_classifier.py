"""The classifier of digits: it learns, and is reproducible."""

import numpy as np
import pytest

from cinn_jax.data import digits
from cinn_jax.evaluation.by_task import classifier


@pytest.fixture(autouse=True)
def _short(monkeypatch):
  monkeypatch.setattr(classifier, "STEPS", 120)


@pytest.fixture(scope="module")
def splits():
  return digits.open_digits("train"), digits.open_digits("test")


def _train(source, seed=0):
  return classifier.train_classifier(
    source.images, source.labels, 10, seed=seed
  )


@pytest.mark.slow
def test_learns_digits_reproducibly(splits, monkeypatch):
  train, test = splits
  classify = _train(train)
  labels = classify(test.images)
  assert labels.shape == (360,) and np.mean(labels == test.labels) > 0.9
  np.testing.assert_array_equal(_train(train)(test.images), labels)
  # The number of pictures at a time does not matter.
  monkeypatch.setattr(classifier, "CHUNK", 100)
  np.testing.assert_array_equal(classify(test.images), labels)


@pytest.mark.slow
def test_another_seed_gives_another_classifier(splits):
  train, _ = splits
  noise = np.random.default_rng(0).integers(0, 256, (360, 8, 8), np.uint8)
  assert np.any(_train(train)(noise) != _train(train, seed=1)(noise))


def test_batches_are_shuffled_epochs():
  batches = list(classifier.batch_indices(300, 120, classifier.BATCH, seed=0))
  assert len(batches) == 120
  assert {len(batch) for batch in batches} == {classifier.BATCH}
  for epoch in np.concatenate(batches)[: 300 * 51].reshape(51, 300):
    assert sorted(epoch) == list(range(300))
    assert list(epoch) != list(range(300))
