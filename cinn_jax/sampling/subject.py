"""The interface of samplers: a condition to draw for, from each input."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from cinn_jax.images.metadata import Metadata
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import CHUNK, Draw


class Subject(NamedTuple):
  """An input that is ready to be answered.

  Attributes:
    head: Small pictures [H, W, 3] for its row of the sheet.
    draw: Function that draws samples by number.
    dims: Numbers in one sample, for bits/dim.
    render: `(x [c, ...]) -> [c, H, W, 3]`, uint8 or uint16 pictures.
    preview: The same, uint8 with at most 512 pixels on a side, and quick; None
      if only `render` can make pictures.
    suffix: Ending of the files of its samples.
    chunk: Samples to draw at a time.
    pixels: Pixels of one result, which limit how many are rendered at a time.
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
    titles: Titles of the columns of a sheet that `Subject.head` fills.
  """

  titles: Sequence[str]

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns the items to answer, given the files that were found.

    Raises:
      ValueError: for inputs that the run's task does not take.
    """

  def load(self, item: Item) -> Subject:
    """Reads one item; an error concerns that item alone."""
