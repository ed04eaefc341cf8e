"""Pretraining of an encoder, which learns to predict the picture by itself."""

import contextlib
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.flow import Flow
from cinn_jax.runtime import processes, sharding
from cinn_jax.tasks import Task
from cinn_jax.workdir.state import State


def pretrain_encoder(
  state: State,
  *,
  config: ConfigDict,
  flow: Flow,
  task: Task,
  source: Source,
  shardings: State,
  alive: Callable[[], None],
) -> State:
  """Trains the `RRDBEncoder` of a new run by L1 on the pictures.

  Follows SRFlow (Lugmayr et al. 2020): minimises the mean absolute error
  between `encoder.predict(cond)` and x without noise, by Adam with a rate that
  falls to 0 along a cosine. The pictures are those of the first `steps` steps
  of a run with this batch size. A run that is stopped here starts from the
  beginning.

  Args:
    state: The state at step 0.
    config: Config of the run. Its `pretrain` has `steps`, `batch_size` and
      `learning_rate`; with 0 steps the encoder keeps its initial values.
    flow: The flow of the run.
    task: The task of the run.
    source: Pictures to train on.
    shardings: A `State` of shardings, where the arrays live.
    alive: Called before every step.

  Returns:
    The state with the trained encoder, in its average too.
  """
  settings = config.pretrain
  if not settings.steps:
    return state
  mesh = sharding.make_mesh()
  sharding.check_batch_size(settings.batch_size, mesh, "pretrain.batch_size")
  places = shardings.fit.params["condition_net"]
  optimizer = optax.adam(
    optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
  )
  step = _make_step(flow, task, optimizer, places)
  params = sharding.copy_to(state.fit.params["condition_net"], places)
  optimizer_state = jax.jit(optimizer.init)(params)
  batches = loader.training_batches(
    source,
    image_size=task.image_size,
    batch_size=settings.batch_size,
    seed=config.train.seed,
    min_scale=config.augment.min_scale,
    flip=config.augment.flip,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  errors: list[jax.Array] = []
  with contextlib.closing(batches):
    bar = tqdm(
      itertools.islice(batches, settings.steps),
      total=settings.steps,
      unit="step",
      desc="encoder",
      disable=not processes.is_first(),
    )
    for batch in bar:
      alive()
      params, optimizer_state, error = step(
        params, optimizer_state, sharding.put_batch(batch, mesh)
      )
      errors = [*errors[-19:], error]
  last = float(jnp.mean(jnp.stack(errors)))
  print(
    f"The encoder was trained to predict the picture: mean absolute error"
    f" {255 * last:.2f} of 255 over its last {len(errors)} steps."
  )
  ema = state.ema
  if ema is not None:
    # Buffers of its own: the step donates both.
    ema = {**ema, "condition_net": sharding.copy_to(params, places)}
  fit = state.fit._replace(params={**state.fit.params, "condition_net": params})
  return state._replace(fit=fit, ema=ema)


def _make_step(flow, task, optimizer, places):
  """Returns `step(params, optimizer_state, batch) -> (..., ..., error)`."""
  encoder = flow.module.condition_net

  def error(params, x, cond):
    prediction = encoder.apply({"params": params}, cond, method="predict")
    return jnp.mean(jnp.abs(prediction - x))

  @functools.partial(
    jax.jit, donate_argnums=(0, 1), out_shardings=(places, None, None)
  )
  def step(params, optimizer_state, batch):
    x, cond = task.prepare(batch)
    value, gradient = jax.value_and_grad(error)(params, x, cond)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state)
    return optax.apply_updates(params, updates), optimizer_state, value

  return step
