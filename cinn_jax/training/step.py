"""One step of training: maximum likelihood, or a comparator's own loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cinn_jax import likelihood
from cinn_jax.bijections import REPORTS, max_log_scale, standardization
from cinn_jax.bijections.base import Array, Condition
from cinn_jax.flow import Flow, split_variables
from cinn_jax.tasks import Task
from cinn_jax.training import data_parallel
from cinn_jax.training.optimizer import choose
from cinn_jax.workdir.state import Fit, State

# Folded into a step's key for what a comparator draws. Splits of the key for
# the task's noise are small numbers.
_LOSS = 2**31 - 1


def init_fit(
  rng: Array,
  flow: Flow,
  optimizer: optax.GradientTransformation,
  x: Array,
  cond: Condition = None,
  batch_size: int | None = None,
) -> Fit:
  """Initialises the variables and the optimizer for `make_update`.

  >>> import jax, optax
  >>> from cinn_jax import make_flow
  >>> from cinn_jax.models.vector_flow import vector_flow
  >>> from cinn_jax.training.step import init_fit, make_update
  >>> model = vector_flow(2, blocks=2, hidden=(16,), linear_start=False)
  >>> flow = make_flow(model, (2,))
  >>> x = 2 + jax.random.normal(jax.random.key(0), (64, 2))
  >>> optimizer = optax.adam(1e-2)
  >>> fit = init_fit(jax.random.key(1), flow, optimizer, x)
  >>> update = jax.jit(make_update(flow, optimizer))
  >>> fit, first = update(fit, x, None)
  >>> fit, second = update(fit, x, None)
  >>> bool(second["loss"] < first["loss"])
  True
  >>> flow.log_prob(fit.variables, x).total.shape
  (64,)

  Args:
    rng: A JAX random key.
    flow: From `make_flow`.
    optimizer: Any optimizer of optax.
    x: A batch [B, *flow.event_shape]; if the flow has `ActNorm`, real examples,
      and better hundreds of them.
    cond: The batch's condition, or None.
    batch_size: Rows that networks see at a time; None for all.
  """
  params, constants = split_variables(flow.init(rng, x, cond, batch_size))
  return Fit(params, constants, optimizer.init(params))


def make_update(
  flow: Flow,
  optimizer: optax.GradientTransformation,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., tuple[Fit, dict[str, Any]]]:
  """Returns `update(fit, x, cond) -> (fit, measured)`, pure and jittable.

  One training step without the loop; see `init_fit` for an example. The loss is
  -ln p(x | cond) in nats per dimension of x, averaged over the batch, plus the
  model's "auxiliary_losses". `measured` has:

    loss: The loss.
    parts: A `likelihood.LogProb`, nats per example [B].
    auxiliary_loss: Nats per dimension, or None if the model reports none.
    grad_norm: Norm of the gradient before clipping.
    max_log_scale: Largest log-scale of any coupling.
    finite: True if the loss, the gradient and all log-scales are finite.

  A model other than a flow has its `objective` for a loss. In place of `parts`,
  `auxiliary_loss` and `max_log_scale`, `measured` then has its `terms`.

  `update` takes more arguments; the first two are booleans that may be traced:

    unconditional: If true, the module's method `unconditional` replaces
      `forward`. For models of several flows that are first trained separately.
    diverged: If true, or if this step is not finite, the fit stays as it was.
      With None (the default) the fit always moves.
    rng: A JAX random key, for a model other than a flow.

  Args:
    flow: From `make_flow`.
    optimizer: Any optimizer of optax.
    mesh: Devices over which the batch is spread, see `data_parallel`. None
      leaves it to XLA to spread the work, as is needed if parameters are
      spread as well.
  """
  dims = math.prod(flow.event_shape)
  optimizer = optax.with_extra_args_support(optimizer)

  def run(method, params, constants, x, cond):
    variables = {"params": params, **constants}
    units = standardization.of(variables)
    (z, log_det), updated = flow.module.apply(
      variables,
      standardization.standardize_x(units, x),
      standardization.standardize_cond(units, cond),
      method=method,
      mutable=[*REPORTS, "batch_stats"],
    )
    log_det += standardization.log_det(units, x)
    parts = likelihood.log_prob(z, log_det, flow.base)
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

  def own_loss(params, constants, x, cond, rng):
    variables = {"params": params, **constants}
    loss, terms = flow.objective.loss(variables, rng, x, cond)
    return loss, ({"terms": terms}, {})

  def update(fit: Fit, x, cond, unconditional=None, diverged=None, rng=None):
    if flow.objective is None:
      run_loss, last = loss_and_rest, unconditional
    elif rng is not None:
      run_loss, last = own_loss, rng
    else:
      raise ValueError(
        f"{flow.objective.title.capitalize()} draws random numbers in training:"
        " pass update its key, rng=jax.random.key(...)."
      )
    # Statistics of batches, and draws of an objective, are of whole batches.
    is_by_row = flow.objective is None and "batch_stats" not in fit.constants
    differentiate = data_parallel.value_and_grad(
      run_loss, mesh if is_by_row else None
    )
    (loss, (measured, updated)), grads = differentiate(
      fit.params, fit.constants, x, cond, last
    )
    norm = optax.tree.norm(grads)
    watched = [loss, norm]
    if "max_log_scale" in measured:
      watched.append(measured["max_log_scale"])
    finite = jnp.isfinite(jnp.stack(watched)).all()
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
  optimizer: optax.GradientTransformation,
  *,
  seed: int,
  ema_decay: float,
  unconditional_steps: int = 0,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[[State, Mapping[str, Any]], tuple[State, dict[str, Array]]]:
  """Returns `step(state, batch) -> (state, metrics)`, pure and jittable.

  The noise depends only on the seed and the step, so a resumed run draws the
  same noise as an uninterrupted one.

  A step that is not finite is skipped: it changes nothing but the counters of
  the state. After `state.MOST_SKIPPED` of them in a row nothing changes at all.

  The metrics are scalars: `bits_per_dim` and its parts `bits_prior` and
  `bits_log_det`; `auxiliary_loss` in nats per dimension, for models that have
  one; `grad_norm`, before clipping; `max_log_scale`, the largest log-scale of
  any coupling; and `skipped`, the `State.skipped` after the step. Of a model
  other than a flow: `loss`, the terms of its objective, `grad_norm`, `skipped`.

  Args:
    flow: The flow to train.
    task: Turns a batch of pictures into the flow's data.
    optimizer: Any optimizer of optax.
    seed: Seed for the noise.
    ema_decay: Decay of the averaged parameters; 0 keeps no average.
    unconditional_steps: Number of first steps in which the model's flows are
      trained separately. Their bits/dim are those of x without its condition.
    mesh: See `make_update`.

  Raises:
    ValueError: for unconditional steps of a model that is a single flow.
  """
  if unconditional_steps and not hasattr(flow.module, "unconditional"):
    raise ValueError(
      "pretrain.unconditional_steps is for models of two flows, such as caflow;"
      f" got {unconditional_steps} for a {type(flow.module).__name__}: set 0."
    )
  dims = math.prod(task.event_shape)
  update = make_update(flow, optimizer, mesh)

  def step(
    state: State, batch: Mapping[str, Any]
  ) -> tuple[State, dict[str, Array]]:
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    first = state.step < unconditional_steps if unconditional_steps else None
    # More steps are under way by the time the host notices that a run has
    # diverged.
    before = state.diverged
    own = loss_key(rng)
    fit, measured = update(state.fit, x, cond, first, before, own)
    in_a_row = jnp.where(measured["finite"], 0, state.skipped + 1)
    skipped = jnp.where(before, state.skipped, in_a_row)
    metrics = {"skipped": skipped, **_metrics(measured, dims)}
    ema = None
    if ema_decay:
      average = _average(state.ema, fit.params, state.step, ema_decay)
      ema = choose(skipped > 0, state.ema, average)
    after = State(step=state.step, fit=fit, ema=ema, skipped=skipped)
    count = jnp.where(after.diverged, state.step, state.step + 1)
    return after._replace(step=count), metrics

  return step


def loss_key(rng: Array) -> Array:
  """Returns the key of what a comparator's loss draws, from that of a step."""
  return jax.random.fold_in(rng, _LOSS)


def _metrics(measured, dims):
  """Returns the scalars of a step that `make_update` measured."""
  norm = {"grad_norm": measured["grad_norm"]}
  if "terms" in measured:
    return {"loss": measured["loss"], **measured["terms"], **norm}
  parts = measured["parts"]
  metrics = {
    **likelihood.bits_by_part(
      prior=jnp.mean(parts.prior), log_det=jnp.mean(parts.log_det), dims=dims
    ),
    **norm,
    "max_log_scale": measured["max_log_scale"],
  }
  if measured["auxiliary_loss"] is not None:
    metrics["auxiliary_loss"] = measured["auxiliary_loss"]
  return metrics


def _average(ema, params, step, decay):
  # A long average would at first mostly remember the initialisation.
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, ema, 1.0 - decay)
