"""The samples of one input: previews of all, and files of chosen ones."""

import pathlib
from typing import NamedTuple

import numpy as np

from cinn_jax.sampling.form import Form
from cinn_jax.sampling.numbered import Ranked
from cinn_jax.sampling.photograph import PREVIEW, shrink
from cinn_jax.sampling.subject import Subject
from cinn_jax.sampling.thumbnails import as_uint8


class Answer(NamedTuple):
  """An input and its samples.

  Attributes:
    subject: The input.
    ranked: The samples that were chosen, in the order of their numbers.
  """

  subject: Subject
  ranked: Ranked

  def previews(self) -> list[np.ndarray]:
    """Returns the samples in order, uint8, at most 512 pixels on a side."""
    if self.subject.preview is not None:
      x = self.ranked.x[self.ranked.order]
      return [as_uint8(picture) for picture in self.subject.preview(x)]
    # One at a time, since they are rendered at full size.
    return [self._small(x) for _, x in self.ranked.chunks(1)]

  def write(
    self,
    folder: pathlib.Path,
    name: str,
    place: int,
    form: Form = Form(),  # noqa: B008, it is immutable.
  ) -> pathlib.Path:
    """Writes one sample at its full size, as `--mode=sample` does.

    Args:
      folder: The folder; created if needed.
      name: Start of the file's name; the sample's number follows.
      place: The sample's place in the order, from 0.
      form: The format of the file.

    Returns:
      The path of the file.
    """
    one = self.ranked.take([place])
    number = self.ranked.ranks[place] if self.ranked.ranks else place + 1
    [(_, x)] = one.chunks(1)
    path = folder / f"{name}_{number}{form.suffix(self.subject)}"
    form.save(self.subject, path, self.subject.render(x)[0])
    return path

  def _small(self, x):
    return shrink(as_uint8(self.subject.render(x)[0]), PREVIEW)
