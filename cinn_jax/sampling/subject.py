"""A sampler, and what it makes of one input: a condition to draw for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import CHUNK, Draw


class Subject(NamedTuple):
  """An input that is ready to be answered.

  Attributes:
    head: small pictures [H, W, 3] for its row of the sheet.
    draw: draws samples of it by number.
    dims: numbers in one sample, for bits/dim.
    render: `(x [c, ...]) -> [c, H, W, 3]`, uint8 or uint16 pictures.
    suffix: of the files of its samples.
    chunk: samples that are drawn at a time.
    pixels: of one result; few samples of large ones are rendered at a time.
    note: said when it is done, such as its size.
  """

  head: Sequence[np.ndarray]
  draw: Draw
  dims: int
  render: Callable[[np.ndarray], np.ndarray]
  suffix: str = ".png"
  chunk: int = CHUNK
  pixels: int = 1
  note: str = ""


class Sampler(Protocol):
  """The inputs of one trained run.

  Attributes:
    titles: of the first columns of a sheet, which `Subject.head` fills.
  """

  titles: Sequence[str]

  def items(self, found: Sequence[Item]) -> list[Item]:
    """Returns what there is to answer, given the files that were found.

    Raises:
      ValueError: for inputs that the run's task does not take.
    """

  def load(self, item: Item) -> Subject:
    """Reads one item; whatever it raises is that item's trouble alone."""
