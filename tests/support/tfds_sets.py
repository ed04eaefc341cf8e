"""Small TFDS data sets for tests, prepared without TensorFlow."""

import io

import numpy as np
import tensorflow_datasets as tfds

from tests.support import pictures


class _Builder(tfds.core.GeneratorBasedBuilder):
  """A data set that generates its pictures."""

  VERSION = tfds.core.Version("1.2.0")
  SPLITS = ("train", "test")
  FEATURES = ()

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(dict(self.FEATURES))
    )

  def _split_generators(self, manager):
    return {name: self._generate_examples(name) for name in self.SPLITS}

  def _generate_examples(self, name):
    for i in range(20 if name == "train" else 5):
      yield i, self.example(i)


class GreyDigits(_Builder):
  """Grey pictures with integer labels."""

  FEATURES = (
    ("image", tfds.features.Image(shape=(24, 36, 1))),
    ("label", tfds.features.ClassLabel(num_classes=10)),
  )

  def example(self, i):
    return {"image": io.BytesIO(pictures.encoded(grey(i))), "label": i % 10}


class ColorPhotos(_Builder):
  """Colour pictures of several sizes, called "photo", with texts as labels."""

  SPLITS = ("train",)
  FEATURES = (
    ("photo", tfds.features.Image(shape=(None, None, 3))),
    ("label", tfds.features.Text()),
  )

  def example(self, i):
    photo = pictures.colors(10 + i, 20)
    return {"photo": io.BytesIO(pictures.encoded(photo)), "label": "no class"}


class Sounds(_Builder):
  """Records without any picture."""

  FEATURES = (("sound", tfds.features.Tensor(shape=(3,), dtype=np.int32)),)

  def example(self, i):
    return {"sound": np.arange(3, dtype=np.int32)}


def grey(i):
  """Returns the picture of the i-th digit, uint8 [H, W]."""
  return np.roll(pictures.colors()[..., 0], i, axis=1)
