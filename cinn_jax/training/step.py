"""One step of maximum likelihood."""

import math

import jax
import jax.numpy as jnp
import optax

from cinn_jax import likelihood
from cinn_jax.evaluation.bits import max_log_scale
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task
from cinn_jax.training.state import State


def make_train_step(flow: Flow, task: Task, optimizer, *, seed, ema_decay):
  """`step(state, batch) -> (state, metrics)`, pure and jittable.

  The loss is -ln p(x | cond) in nats per dimension of x, averaged over the
  batch. Noise depends on the seed and the step alone, so a resumed run draws
  what an uninterrupted one would have drawn.

  Metrics (scalars): bits_per_dim and its parts bits_prior and bits_log_det;
  grad_norm, before clipping; max_log_scale, the largest log-scale of any
  coupling.
  """
  dims = math.prod(task.event_shape)
  mutable = ["diagnostics", "batch_stats"]

  def loss_and_rest(params, constants, x, cond):
    variables = {"params": params, **constants}
    (z, log_det), updated = flow.module.apply(
      variables, x, cond, method="forward", mutable=mutable
    )
    parts = likelihood.log_prob(z, log_det)
    return -jnp.mean(parts.total) / dims, (parts, updated)

  def step(state: State, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    (loss, (parts, updated)), grads = jax.value_and_grad(
      loss_and_rest, has_aux=True
    )(state.params, state.constants, x, cond)
    updates, optimizer_state = optimizer.update(
      grads, state.optimizer, state.params, value=loss
    )
    params = optax.apply_updates(state.params, updates)
    metrics = {
      **likelihood.bits_by_part(*map(jnp.mean, parts), dims),
      "grad_norm": optax.tree.norm(grads),
      "max_log_scale": max_log_scale(updated.pop("diagnostics")),
    }
    state = State(
      step=state.step + 1,
      params=params,
      ema=_average(state.ema, params, state.step, ema_decay),
      constants={**state.constants, **updated},
      optimizer=optimizer_state,
    )
    return state, metrics

  return step


def _average(ema, params, step, decay):
  # Early on, a long average would mostly remember the initialisation.
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, ema, 1.0 - decay)
