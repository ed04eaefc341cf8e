"""The interface of samplers: they turn each input into a condition."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from cinn_jax.images.metadata import Metadata
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import CHUNK, Draw


class Subject(NamedTuple):
  """An input that is ready to be answered.

  Attributes:
    head: Small pictures [H, W, 3] at the start of its row on the sheet.
    draw: Function that draws samples by number.
    dims: How many numbers one sample has, for bits/dim.
    render: `(x [c, ...]) -> [c, H, W, 3]`, uint8 or uint16 pictures.
    preview: A faster `render` to pictures of at most 512 pixels on a side; None
      if there is no faster way.
    suffix: Ending of the files of its samples.
    chunk: Samples to draw at a time.
    pixels: Number of pixels of one result, which limits how many are rendered
      at a time.
    metadata: Written into the files of its samples.
    note: Printed with the result, such as the size.
  """

  head: Sequence[np.ndarray]
  draw: Draw
  dims: int
  render: Callable[[np.ndarray], np.ndarray]
  preview: Callable[[np.ndarray], np.ndarray] | None = None
  suffix: str = ".png"
  chunk: int = CHUNK
  pixels: int = 1
  metadata: Metadata = Metadata()
  note: str = ""


class Sampler(Protocol):
  """The inputs of one trained run.

  Attributes:
    titles: Titles of a sheet's columns that `Subject.head` fills.
  """

  titles: Sequence[str]

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns the items to answer, given the files that were found.

    Raises:
      ValueError: for inputs that the run's task does not take.
    """

  def load(self, item: Item) -> Subject:
    """Reads one item; an error concerns that item alone."""
