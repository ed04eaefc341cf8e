"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998, UCI), 13 writers, 17 grey levels. Which writer wrote which is
not known, so the splits share writers: they tell memory from learning, not how
a model does on another hand.
"""

import numpy as np
import sklearn.datasets

from cinn_jax.data.base import LabelledPictures

# Of each class, drawn once and for all; the rest trains.
HELD_OUT = {"test": 36, "validation": 18}
_SEED = 0
_LEVELS = 16  # Above 0.


def open_digits(split: str) -> LabelledPictures:
  """Opens "train" (1,257), "validation" (180) or "test" (360 pictures).

  The held-out splits have equally many pictures of each class. The 17 levels
  become 0 to 255, evenly and rounded.
  """
  digits = sklearn.datasets.load_digits()
  chosen = _members(digits.target, split)
  levels = digits.images[chosen] / _LEVELS
  return LabelledPictures(
    f"digits ({split}: {len(chosen)} pictures of 8x8)",
    np.round(255 * levels).astype(np.uint8),
    digits.target[chosen].astype(np.int32),
  )


def _members(labels, split):
  """Indices of a split; classes take turns, so any stretch shows them all."""
  generator = np.random.default_rng(_SEED)
  test, held = HELD_OUT["test"], sum(HELD_OUT.values())
  part = {
    "train": slice(held, None),
    "validation": slice(test, held),
    "test": slice(test),
  }[split]
  chosen = [
    generator.permutation(np.flatnonzero(labels == label))[part]
    for label in np.unique(labels)
  ]
  turns = np.concatenate([np.arange(len(members)) for members in chosen])
  chosen = np.concatenate(chosen)
  return chosen[np.lexsort((labels[chosen], turns))]
