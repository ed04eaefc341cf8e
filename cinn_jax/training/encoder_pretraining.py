"""An encoder that learns to guess the picture itself, before its flow does."""

import contextlib
import functools
import itertools

import jax
import jax.numpy as jnp
import optax
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.runtime import processes, sharding


def pretrained_encoder(state, config, flow, task, source, shardings, alive):
  """A new run's state, its `RRDBEncoder` trained by L1 on the pictures.

  As in SRFlow (Lugmayr et al. 2020): the mean absolute error of
  `encoder.predict(cond)` and x without noise, by Adam with a rate that falls to
  0 along a cosine. The pictures are those of the run's first `steps` steps of
  this batch size. A run that ends meanwhile begins anew.

  Args:
    state: at step 0.
    config: of the run. Its `pretrain` has `steps`, `batch_size` and
      `learning_rate`; with 0 steps the encoder stays as it starts.
    flow, task, source: of the run; the source is that of training.
    shardings: where the state's arrays live, of its structure.
    alive: called before every step.
  """
  settings = config.pretrain
  if not settings.steps:
    return state
  mesh = sharding.make_mesh()
  sharding.check_batch_size(settings.batch_size, mesh, "pretrain.batch_size")
  places = shardings.params["condition_net"]
  optimizer = optax.adam(
    optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
  )
  step = _make_step(flow, task, optimizer, places)
  params = sharding.copied(state.params["condition_net"], places)
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
  errors = []
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
    f"The encoder was trained to guess the picture: mean absolute error"
    f" {255 * last:.2f} of 255 over its last {len(errors)} steps."
  )
  ema = state.ema
  if ema is not None:
    # Not the same buffers: both are donated to the step.
    ema = {**ema, "condition_net": sharding.copied(params, places)}
  return state._replace(
    params={**state.params, "condition_net": params},
    ema=ema,
  )


def _make_step(flow, task, optimizer, places):
  """`step(params, optimizer_state, batch)` to the two and the error."""
  encoder = flow.module.condition_net

  def error(params, x, cond):
    guess = encoder.apply({"params": params}, cond, method="predict")
    return jnp.mean(jnp.abs(guess - x))

  @functools.partial(
    jax.jit, donate_argnums=(0, 1), out_shardings=(places, None, None)
  )
  def step(params, optimizer_state, batch):
    x, cond = task.prepare(batch)
    value, gradient = jax.value_and_grad(error)(params, x, cond)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state)
    return optax.apply_updates(params, updates), optimizer_state, value

  return step
