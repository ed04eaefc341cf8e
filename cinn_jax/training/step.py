"""One step of maximum likelihood."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cinn_jax import likelihood
from cinn_jax.bijections import REPORTS, max_log_scale
from cinn_jax.flow import Flow, split_variables
from cinn_jax.tasks import Task
from cinn_jax.training.optimizer import choose
from cinn_jax.workdir.state import State


class Fit(NamedTuple):
  """What one update moves: parameters, other collections, the optimizer."""

  params: Any
  constants: Any
  optimizer: optax.OptState

  @property
  def variables(self):
    """The model, as the functions of a `Flow` take it."""
    return {"params": self.params, **self.constants}


def init_fit(rng, flow: Flow, optimizer, x, cond=None) -> Fit:
  """Where `make_update` starts: new variables from a batch, no step taken.

  >>> import jax, optax
  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.vector_flow import vector_flow
  >>> from cinn_jax.training.step import init_fit, make_update
  >>> flow = make_flow(vector_flow(2, blocks=2, hidden=(16,)), (2,))
  >>> x = jax.random.normal(jax.random.key(0), (64, 2))
  >>> optimizer = optax.adam(1e-2)
  >>> now = init_fit(jax.random.key(1), flow, optimizer, x)
  >>> update = jax.jit(make_update(flow, optimizer))
  >>> now, first = update(now, x, None)
  >>> now, second = update(now, x, None)
  >>> bool(second["loss"] < first["loss"])
  True
  >>> flow.log_prob(now.variables, x).total.shape
  (64,)

  Args:
    rng: a JAX random key.
    optimizer: any of optax's.
    x, cond: a batch, real examples where the flow has `ActNorm`.
  """
  params, constants = split_variables(jax.jit(flow.init)(rng, x, cond))
  return Fit(params, constants, optimizer.init(params))


def make_update(flow: Flow, optimizer):
  """`update(fit, x, cond) -> (fit, measured)`, pure and jittable.

  A step of training without the loop; `init_fit` has an example. The loss is
  -ln p(x | cond) in nats per dimension of x, averaged over the batch, plus what
  the model reports as "auxiliary_losses". Measured: `loss`; `parts`, a
  `likelihood.LogProb` of nats per example; `auxiliary_loss`, None where the
  model reports none; `grad_norm`, before clipping; `max_log_scale`, of any
  coupling; `finite`, whether loss and gradient are.

  `update(fit, x, cond, unconditional)`, with a boolean that may be traced,
  follows the module's `unconditional` in place of its `forward` where that is
  true: for models of several flows that are first trained by themselves. With
  another, `diverged`, the fit stays as it is where that is true or this step is
  not finite.
  """
  dims = math.prod(flow.event_shape)
  optimizer = optax.with_extra_args_support(optimizer)

  def run(method, params, constants, x, cond):
    variables = {"params": params, **constants}
    (z, log_det), updated = flow.module.apply(
      variables, x, cond, method=method, mutable=[*REPORTS, "batch_stats"]
    )
    parts = likelihood.log_prob(z, log_det)
    loss = -jnp.mean(parts.total) / dims
    measured = {
      "parts": parts,
      "max_log_scale": max_log_scale(updated.pop("diagnostics", {})),
      "auxiliary_loss": None,
    }
    if reported := jax.tree.leaves(updated.pop("auxiliary_losses", {})):
      measured["auxiliary_loss"] = sum(map(jnp.mean, reported))
      loss += measured["auxiliary_loss"]
    return loss, (measured, updated)

  def loss_and_rest(params, constants, x, cond, unconditional):
    arguments = params, constants, x, cond
    if unconditional is None:
      return run("forward", *arguments)

    def with_auxiliary(method):
      loss, (measured, updated) = run(method, *arguments)
      if measured["auxiliary_loss"] is None:
        measured["auxiliary_loss"] = jnp.zeros_like(loss)
      return loss, (measured, updated)

    return jax.lax.cond(
      unconditional,
      lambda: with_auxiliary("unconditional"),
      lambda: with_auxiliary("forward"),
    )

  def update(fit: Fit, x, cond, unconditional=None, diverged=None):
    (loss, (measured, updated)), grads = jax.value_and_grad(
      loss_and_rest, has_aux=True
    )(fit.params, fit.constants, x, cond, unconditional)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    measured |= {"loss": loss, "grad_norm": norm, "finite": finite}
    stays = False if diverged is None else diverged | ~finite
    updates, optimizer_state = optimizer.update(
      grads, fit.optimizer, fit.params, value=loss, diverged=stays
    )
    params = optax.apply_updates(fit.params, updates)
    after = Fit(params, {**fit.constants, **updated}, optimizer_state)
    if diverged is not None:
      after = choose(stays, fit, after)
    return after, measured

  return update


def make_train_step(
  flow: Flow,
  task: Task,
  optimizer,
  *,
  seed,
  ema_decay,
  unconditional_steps=0,
):
  """`step(state, batch) -> (state, metrics)`, pure and jittable.

  One `make_update`. Noise depends on the seed and the step alone, so a resumed
  run draws what an uninterrupted one would have drawn.

  Metrics (scalars): bits_per_dim and its parts bits_prior and bits_log_det;
  auxiliary_loss in nats/dim, of models that have one; grad_norm, before
  clipping; max_log_scale, the largest log-scale of any coupling.

  Args:
    ema_decay: of the state's average; 0 keeps none.
    unconditional_steps: for the first so many steps the model's flows are
      trained by themselves, and bits/dim is of x without its condition.

  Raises:
    ValueError: for such steps of a model that is one flow.
  """
  if unconditional_steps and not hasattr(flow.module, "unconditional"):
    raise ValueError(
      "pretrain.unconditional_steps is for models of two flows, such as caflow;"
      f" got {unconditional_steps} for a {type(flow.module).__name__}: set 0."
    )
  dims = math.prod(task.event_shape)
  update = make_update(flow, optimizer)

  def step(state: State, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    fit = Fit(state.params, state.constants, state.optimizer)
    first = state.step < unconditional_steps if unconditional_steps else None
    # From the first step that is not finite on, the state stays as it was
    # before it: by the time that the host notices, more steps are under way.
    fit, measured = update(fit, x, cond, first, state.diverged)
    diverged = state.diverged | ~measured["finite"]
    metrics = {
      **likelihood.bits_by_part(*map(jnp.mean, measured["parts"]), dims),
      "grad_norm": measured["grad_norm"],
      "max_log_scale": measured["max_log_scale"],
    }
    if measured["auxiliary_loss"] is not None:
      metrics["auxiliary_loss"] = measured["auxiliary_loss"]
    ema = None
    if ema_decay:
      average = _average(state.ema, fit.params, state.step, ema_decay)
      ema = choose(diverged, state.ema, average)
    after = State(
      step=choose(diverged, state.step, state.step + 1),
      params=fit.params,
      ema=ema,
      constants=fit.constants,
      optimizer=fit.optimizer,
      diverged=diverged,
    )
    return after, metrics

  return step


def _average(ema, params, step, decay):
  # Early on, a long average would mostly remember the initialisation.
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, ema, 1.0 - decay)
