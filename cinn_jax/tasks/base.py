"""What a task is: pictures to (x, cond), and back to pictures."""

from collections.abc import Callable
from typing import NamedTuple

from cinn_jax.flow import Shapes


class Task(NamedTuple):
  """Pure, jittable functions that turn pictures into a flow's data and back.

  Attributes:
    prepare: `(batch) -> (x, cond)`, float32; a batch has "image" uint8
      [B, S, S, 3] and what else the records hold, such as "label" int32 [B].
    add_noise: `(rng, x, cond) -> (x, cond)`, the noise of training, which a
      likelihood needs too: without it the density of rounded pixels is not
      bounded.
    render: `(x, cond) -> rgb` in [0, 1], [B, S, S, 3].
    condition_picture: `(cond) -> rgb` [B, H, W, 3], what the model is given,
      for a sheet.
    image_size: S, or (H, W) where pictures are [B, H, W, 3].
    event_shape: of one x.
    cond_shape: of one cond: a shape, or a pytree of shapes.
    scales: per channel of x, how many units of the data one unit of x is.
    description: names what bits/dim is of.
    condition_name: the title of `condition_picture`.
    units: what `scales` lead to, in words.
    reference: `(cond) -> rgb` [B, H, W, 3] in [0, 1], the answer that takes no
      model: the enlarged picture, the grey one; None where there is none.
    consistency: `(rgb [B, H, W, 3] in [0, 1], cond) -> dB [B]`, how well a
      picture agrees with what was given, infinite where it does to the last
      bit; None where that is not defined.
    consistency_name: its title.
    num_classes: of the "label" that `prepare` takes; 0: it takes none.
  """

  prepare: Callable
  add_noise: Callable
  render: Callable
  condition_picture: Callable
  image_size: int | tuple[int, int]
  event_shape: tuple[int, ...]
  cond_shape: Shapes
  scales: tuple[float, ...]
  description: str
  condition_name: str
  units: str = "the data's own units"
  reference: Callable | None = None
  consistency: Callable | None = None
  consistency_name: str = "consistency"
  num_classes: int = 0
