"""The optimizer of `fit`: Adam, with decay of the networks' kernels."""

import jax
import optax

from cinn_jax.bijections.base import PyTree
from cinn_jax.training.optimizer import make_optimizer, make_schedule

# With many rows, decay falls as the weight of a prior does. With few it stays:
# Adam's weights cannot grow beyond 1 / decay.
_DECAY_TIMES_ROWS, _MOST_DECAY = 10_000, 1.0
# Networks for long vectors overfit sooner. The factor is 1 up to the first
# number of components, and 4 from the second.
_FEW, _MANY = 5, 10


def default_decay(rows: int, components: int = 1) -> float:
  """Returns the decay for an array of this many rows of vectors."""
  factor = (min(max(components, _FEW), _MANY) / _FEW) ** 2
  return min(_DECAY_TIMES_ROWS / rows, _MOST_DECAY) * factor


def make_decaying(
  *,
  num_steps: int,
  learning_rate: float | optax.Schedule,
  schedule: str,
  clip_norm: float,
  weight_decay: float,
) -> optax.GradientTransformation:
  """Builds Adam with decoupled weight decay (Loshchilov and Hutter 2019).

  Only kernels of networks decay. Biases and the parameters of other layers,
  such as those of a linear start, say where the data are.

  Args:
    num_steps: Length of the schedule.
    learning_rate: Peak learning rate, or an optax schedule, which replaces the
      next argument.
    schedule: See `make_schedule`.
    clip_norm: Largest norm of the gradient; 0 does not clip.
    weight_decay: Decay per step, as a factor of the learning rate.

  Raises:
    ValueError: for an unknown schedule.
  """
  rate = learning_rate
  if not callable(rate):
    rate = make_schedule(rate, num_steps, schedule)
  adam = make_optimizer(
    num_steps=num_steps, learning_rate=1.0, clip_norm=clip_norm
  )
  parts = [adam]
  if weight_decay:
    # Adam's updates are to be added, so decay is negative.
    parts.append(optax.add_decayed_weights(-weight_decay, mask=_kernels))
  return optax.chain(*parts, optax.scale_by_schedule(rate))


def _kernels(params: PyTree) -> PyTree:
  """Returns True for each kernel."""
  return jax.tree.map_with_path(
    lambda path, _: str(getattr(path[-1], "key", "")) == "kernel", params
  )
