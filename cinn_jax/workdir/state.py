"""What a training run is at a step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cinn_jax.flow import Flow, map_shapes, split_variables
from cinn_jax.tasks import Task


class State(NamedTuple):
  """A training run at a step; with the seed, all that the next step needs.

  Attributes:
    step: how many steps were taken, int32.
    params: what is trained.
    ema: an exponential moving average of params, or None where none is kept.
    constants: the other collections: fixed matrices, running statistics.
    optimizer: the optimizer's own state.
    diverged: bool, whether a step was not finite; then all the rest stays as it
      was before that step. Never true in a checkpoint.
  """

  step: jax.Array
  params: Any
  ema: Any
  constants: Any
  optimizer: optax.OptState
  diverged: jax.Array

  @property
  def ema_variables(self):
    """What is validated and sampled, as the functions of a `Flow` take it.

    The averaged model; where no average is kept, the trained one.
    """
    params = self.params if self.ema is None else self.ema
    return {"params": params, **self.constants}


def init_state(
  rng, flow: Flow, task: Task, optimizer, batch=None, *, averaged: bool = True
) -> State:
  """A run at step 0. Jittable; `jax.eval_shape` of it costs no memory.

  Args:
    batch: real pictures, as the loader gives them, for layers whose first
      values come from data (ActNorm); the others do not depend on it. None is
      for shapes alone.
    averaged: whether an average of the parameters is kept.
  """
  if batch is None:
    x = jnp.zeros((1, *task.event_shape))
    cond = map_shapes(lambda shape: jnp.zeros((1, *shape)), task.cond_shape)
  else:
    # The noise that the first step will add.
    noise = jax.random.fold_in(rng, 0)
    x, cond = task.add_noise(noise, *task.prepare(batch))
  params, constants = split_variables(flow.init(rng, x, cond))
  return State(
    step=jnp.zeros((), jnp.int32),
    params=params,
    # Not the same buffers as params: both are donated to the step.
    ema=jax.tree.map(jnp.copy, params) if averaged else None,
    constants=constants,
    optimizer=optimizer.init(params),
    diverged=jnp.zeros((), bool),
  )
