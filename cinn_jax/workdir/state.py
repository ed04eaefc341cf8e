"""The state of a training run at one step."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cinn_jax.bijections.base import Array, PyTree
from cinn_jax.bijections.shapes import map_shapes
from cinn_jax.flow import Flow, split_variables
from cinn_jax.tasks import Task

# A run ends after this many steps in a row that are not finite.
MOST_SKIPPED = 5


class Fit(NamedTuple):
  """A model in training: everything that one update reads and replaces.

  Attributes:
    params: Trained parameters.
    constants: All other collections: fixed matrices, running statistics.
    optimizer: State of the optimizer.
  """

  params: PyTree
  constants: PyTree
  optimizer: optax.OptState

  @property
  def variables(self) -> dict[str, PyTree]:
    """The model's variables, for the functions of a `Flow`."""
    return {"params": self.params, **self.constants}


class State(NamedTuple):
  """A training run at one step: with the seed, all that the next step needs.

  Attributes:
    step: Number of steps taken; an int32 scalar.
    fit: The model and its optimizer.
    ema: Exponential moving average of the parameters, or None to keep none.
    skipped: Number of steps in a row, up to the last one, that were not finite
      and so left the model as it was; an int32 scalar.
  """

  step: Array
  fit: Fit
  ema: PyTree
  skipped: Array

  @property
  def diverged(self) -> Array:
    """True after `MOST_SKIPPED` such steps; no further step changes the state.

    Never True in a checkpoint.
    """
    return self.skipped >= MOST_SKIPPED

  @property
  def ema_variables(self) -> dict[str, PyTree]:
    """The variables to validate and to sample from.

    They hold the averaged parameters, or the trained ones if no average is
    kept.
    """
    params = self.fit.params if self.ema is None else self.ema
    return {"params": params, **self.fit.constants}


def init_state(
  rng: Array,
  flow: Flow,
  task: Task,
  optimizer: optax.GradientTransformation,
  batch: Mapping[str, Any] | None = None,
  *,
  averaged: bool = True,
  batch_size: int | None = None,
) -> State:
  """Returns the state at step 0.

  It can be jitted. Under `jax.eval_shape`, it gives the shapes without memory.

  Args:
    rng: A JAX random key.
    flow: The flow to train.
    task: Turns pictures into the flow's data.
    optimizer: Any optax optimizer.
    batch: Real pictures from the loader, for layers that initialise from data
      (ActNorm). Other layers do not depend on it. None is enough for shapes.
    averaged: Keeps an average of the parameters.
    batch_size: Number of pictures that networks see at a time; None for all.
  """
  if batch is None:
    x = jnp.zeros((1, *task.event_shape))
    cond = map_shapes(lambda shape: jnp.zeros((1, *shape)), task.cond_shape)
  else:
    # The noise is that of the first step if it has as many pictures.
    noise = jax.random.fold_in(rng, 0)
    x, cond = task.add_noise(noise, *task.prepare(batch))
  params, constants = split_variables(flow.init(rng, x, cond, batch_size))
  return State(
    step=jnp.zeros((), jnp.int32),
    fit=Fit(params, constants, optimizer.init(params)),
    # It needs buffers of its own, since the step donates both.
    ema=jax.tree.map(jnp.copy, params) if averaged else None,
    skipped=jnp.zeros((), jnp.int32),
  )
