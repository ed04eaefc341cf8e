"""The contract of a task: pictures to (x, cond), and back to pictures."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.bijections.shapes import Shapes

# The fields of a batch of records: "image" uint8 [B, H, W, 3], and others.
Batch = Mapping[str, Array]


class Task(NamedTuple):
  """Functions that turn pictures into a flow's data and back.

  All of them are pure, and can be jitted. A condition is an array, or any
  pytree of arrays.

  Attributes:
    prepare: `(batch) -> (x, cond)`, float32. A batch has "image", uint8
      [B, S, S, 3], and other fields of the records, such as "label", int32 [B].
    add_noise: `(rng, x, cond) -> (x, cond)`, the noise of training. Likelihoods
      need it too: without noise, the density of rounded pixels has no bound.
    render: `(x, cond) -> rgb`, in [0, 1], [B, S, S, 3].
    condition_picture: `(cond) -> rgb`, in [0, 1], [B, H, W, 3]: the condition
      as a picture, for contact sheets.
    image_size: S, or (H, W) if pictures are [B, H, W, 3].
    event_shape: Shape of one x, without the batch.
    cond_shape: Shape of one condition, without the batch: one shape, or a
      pytree of shapes if the condition is a pytree of arrays; see
      `bijections.shapes.map_shapes`.
    scales: Size of one unit of x in units of the data, for each channel of x.
    description: Name of what bits/dim measures, for logs and tables.
    condition_name: Title of `condition_picture`.
    units: Name of the units of the data.
    reference: `(cond) -> rgb`, in [0, 1], [B, H, W, 3]: an answer without a
      model, such as the enlarged or the grey picture. None if there is none.
    consistency: `(rgb, cond) -> dB [B]`, with rgb [B, H, W, 3] in [0, 1]: how
      closely a picture agrees with its condition; infinite if they agree
      exactly. None if the task does not define it.
    consistency_name: Title of `consistency`.
    num_classes: Number of classes of the "label" that `prepare` takes; 0 if it
      takes none.
    gaussian_noise: Standard deviation, in units of x, of the noise that
      `add_noise` adds to x if it is Gaussian and independent for each number;
      0 for other noise.
  """

  prepare: Callable[[Batch], tuple[Array, Condition]]
  add_noise: Callable[[Array, Array, Condition], tuple[Array, Condition]]
  render: Callable[[Array, Condition], Array]
  condition_picture: Callable[[Condition], Array]
  image_size: int | tuple[int, int]
  event_shape: tuple[int, ...]
  cond_shape: Shapes
  scales: tuple[float, ...]
  description: str
  condition_name: str
  units: str = "the data's own units"
  reference: Callable[[Condition], Array] | None = None
  consistency: Callable[[Array, Condition], Array] | None = None
  consistency_name: str = "consistency"
  num_classes: int = 0
  gaussian_noise: float = 0.0
