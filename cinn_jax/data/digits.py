"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998, UCI): 13 writers, 17 grey levels. The data do not say who wrote
which digit, so the splits share writers. They tell memorisation from learning,
but not how a model does on the handwriting of others.
"""

import numpy as np
import sklearn.datasets

from cinn_jax.data.base import LabelledPictures

# Pictures of each class in the held-out splits; the others train.
HELD_OUT = {"test": 36, "validation": 18}
_SEED = 0  # The splits are the same every time.
_LEVELS = 16  # Grey levels above 0.


def open_digits(split: str) -> LabelledPictures:
  """Opens "train" (1,257), "validation" (180) or "test" (360 pictures).

  The held-out splits have equally many pictures of each class. The 17 levels
  are scaled to 0 to 255 and rounded.
  """
  digits = sklearn.datasets.load_digits()
  members = _members(digits.target, split)
  levels = digits.images[members] / _LEVELS
  return LabelledPictures(
    f"digits ({split}: {len(members)} pictures of 8x8)",
    np.round(255 * levels).astype(np.uint8),
    digits.target[members].astype(np.int32),
  )


def _members(labels, split):
  """Returns the indices of a split; ten in a row have all ten classes."""
  generator = np.random.default_rng(_SEED)
  test, held_out = HELD_OUT["test"], sum(HELD_OUT.values())
  part = {
    "train": slice(held_out, None),
    "validation": slice(test, held_out),
    "test": slice(test),
  }[split]
  by_class = [
    generator.permutation(np.flatnonzero(labels == label))[part]
    for label in np.unique(labels)
  ]
  turns = np.concatenate([np.arange(len(members)) for members in by_class])
  members = np.concatenate(by_class)
  return members[np.lexsort((labels[members], turns))]
