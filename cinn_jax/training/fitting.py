"""`fit`: trains a flow on arrays or on a simulator, in one call."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from cinn_jax import likelihood
from cinn_jax.bijections.base import Array, Condition, PyTree
from cinn_jax.flow import Flow
from cinn_jax.training import minibatches
from cinn_jax.training.monitor import Diverged
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import init_fit, make_update
from cinn_jax.workdir.state import Fit

Simulator = Callable[[Array, int], minibatches.Minibatch]


class History(NamedTuple):
  """The log-probabilities that `fit` measured in each epoch.

  Attributes:
    train_log_prob: Mean ln p(x | cond) over the epoch's minibatches, each under
      the parameters at that step; numpy [epochs], nats per example.
    validation_log_prob: Mean ln p(x | cond) of the held-out data after the
      epoch; numpy [epochs], nats per example.
    best_epoch: Index of the epoch whose variables were returned.
    dims: Number of values in one x.
  """

  train_log_prob: np.ndarray
  validation_log_prob: np.ndarray
  best_epoch: int
  dims: int

  @property
  def train_bits_per_dim(self) -> np.ndarray:
    """`train_log_prob` in bits per dimension; lower is better."""
    return likelihood.bits_per_dim(self.train_log_prob, self.dims)

  @property
  def validation_bits_per_dim(self) -> np.ndarray:
    """`validation_log_prob` in bits per dimension; lower is better."""
    return likelihood.bits_per_dim(self.validation_log_prob, self.dims)


class FitResult(NamedTuple):
  """The result of `fit`.

  Attributes:
    variables: Variables of the best epoch, as the flow's functions take them.
    history: Log-probabilities of every epoch.
  """

  variables: dict[str, PyTree]
  history: History


def fit(
  flow: Flow,
  rng: Array,
  x: jax.typing.ArrayLike | Simulator | Iterator[minibatches.Minibatch],
  cond: Condition = None,
  *,
  num_epochs: int = 100,
  steps_per_epoch: int = 100,
  batch_size: int = 256,
  learning_rate: float = 1e-3,
  schedule: str = "cosine",
  clip_norm: float = 5.0,
  optimizer: optax.GradientTransformation | None = None,
  validation_fraction: float = 0.1,
  patience: int = 20,
  progress: bool = True,
) -> FitResult:
  """Trains a flow by maximum likelihood; returns `(variables, history)`.

  A posterior over theta given a measurement, learnt from pairs of the two:

  >>> import jax, cinn_jax
  >>> from cinn_jax.models.vector_flow import vector_flow
  >>> flow = cinn_jax.make_flow(vector_flow(2, blocks=2, hidden=(16,)), (2,))
  >>> theta = jax.random.normal(jax.random.key(0), (1000, 2))
  >>> measured = theta + 0.1 * jax.random.normal(jax.random.key(1), (1000, 2))
  >>> variables, history = cinn_jax.fit(
  ...   flow, jax.random.key(2), theta, measured, num_epochs=20, progress=False
  ... )
  >>> bool(history.validation_log_prob[-1] > history.validation_log_prob[0])
  True
  >>> posterior, _ = flow.sample(
  ...   variables, jax.random.key(3), measured[:1], num_samples=500
  ... )
  >>> posterior.shape
  (1, 500, 2)

  A simulator in place of the arrays gives new data in every step:

  >>> def simulate(rng, batch_size):
  ...   key_theta, key_noise = jax.random.split(rng)
  ...   theta = jax.random.normal(key_theta, (batch_size, 2))
  ...   noise = jax.random.normal(key_noise, (batch_size, 2))
  ...   return theta, theta + 0.1 * noise
  >>> variables, history = cinn_jax.fit(
  ...   flow, jax.random.key(2), simulate, num_epochs=2, progress=False
  ... )

  The parameters are initialised by `flow.init` on a minibatch. After each epoch
  the held-out data are scored, and the variables of the best epoch are
  returned. The same `rng` and data give the same result on the same machine.
  All arrays stay on the default device, and each epoch is one compiled call.

  Args:
    flow: From `make_flow`.
    rng: A JAX random key.
    x: The data, as one of:
      an array [N, *flow.event_shape] of finite floats;
      a function `simulate(rng, batch_size) -> (x, cond)` of JAX operations,
        which is traced into the training loop;
      an iterator that yields pairs (x, cond) without end, for a simulator that
        does not consist of JAX operations. It sets the size of its minibatches,
        which must all be equal.
    cond: The condition, if x is an array: a pytree of arrays [N, ...], or None.
    num_epochs: Largest number of epochs. With an array, an epoch is one pass
      through it.
    steps_per_epoch: Steps per epoch of a simulator or an iterator.
    batch_size: Rows per minibatch; fewer if x has fewer rows.
    learning_rate: Peak learning rate of Adam.
    schedule: Learning rate over all `num_epochs`: "cosine", which falls to 0,
      or "constant"; see `training.optimizer.make_schedule`.
    clip_norm: Largest norm of the whole gradient, for the loss in nats per
      dimension; 0 does not clip.
    optimizer: An optax optimizer that replaces Adam and the previous three
      arguments.
    validation_fraction: Fraction of the rows to hold out, between 0 and 1. For
      a simulator or an iterator, the held-out data are this fraction of one
      epoch's minibatches, taken once.
    patience: Stops after this many epochs without a better one.
    progress: Shows a progress bar.

  Returns:
    `FitResult(variables, history)`; `variables` are those that `flow.sample`,
    `flow.log_prob` and the other functions of the flow take.

  Raises:
    ValueError: for data that do not fit the flow or each other, or are not
      finite; for too few rows; for an option out of range; for an iterator that
      ends.
    training.monitor.Diverged: if the loss is not finite.
  """
  _check_options(
    num_epochs=num_epochs,
    steps_per_epoch=steps_per_epoch,
    batch_size=batch_size,
    patience=patience,
  )
  if not 0 < validation_fraction < 1:
    raise ValueError(
      f"validation_fraction must be between 0 and 1, got {validation_fraction}."
    )
  rng_data, rng_init, rng_epochs = jax.random.split(rng, 3)
  data = _open(
    rng_data,
    x,
    cond,
    steps_per_epoch,
    batch_size=batch_size,
    validation_fraction=validation_fraction,
    event_shape=flow.event_shape,
  )
  if optimizer is None:
    optimizer = make_optimizer(
      num_steps=num_epochs * data.steps,
      learning_rate=learning_rate,
      schedule=schedule,
      clip_norm=clip_norm,
    )
  return _loop(
    jax.jit(_make_epoch(flow, data.draw, optimizer, batch_size)),
    init_fit(rng_init, flow, optimizer, *data.first),
    data,
    rng_epochs,
    dims=math.prod(flow.event_shape),
    num_epochs=num_epochs,
    patience=patience,
    progress=progress,
  )


def _check_options(**options):
  for name, value in options.items():
    if value < 1:
      raise ValueError(f"{name} must be at least 1, got {value}.")


def _open(rng, x, cond, steps, **options):
  if not callable(x) and not isinstance(x, Iterator):
    return minibatches.from_arrays(rng, x, cond, **options)
  if cond is not None:
    raise ValueError(
      "A simulator returns its conditions together with x, as (x, cond): leave"
      " out fit's argument cond."
    )
  if callable(x):
    return minibatches.from_simulator(rng, x, steps=steps, **options)
  options.pop("batch_size")
  return minibatches.from_iterator(x, steps=steps, **options)


def _make_epoch(flow, draw, optimizer, chunk):
  """Returns one epoch of training, with the score of the validation data.

  It is `(fit, entries, pool, validation) -> (fit, log_prob [steps], score)`.
  """
  update = make_update(flow, optimizer)

  def epoch(fit: Fit, entries, pool, validation):
    def step(fit, entry):
      fit, measured = update(fit, *draw(pool, entry))
      return fit, jnp.mean(measured["parts"].total)

    fit, log_probs = jax.lax.scan(step, fit, entries)
    score = _mean_log_prob(flow, fit.variables, validation, chunk)
    return fit, log_probs, score

  return epoch


def _mean_log_prob(flow, variables, data, chunk):
  """Returns the mean ln p(x | cond) of all rows, computed in chunks."""
  rows = len(data[0])
  chunk = min(chunk, rows)
  index = jnp.arange(-(-rows // chunk) * chunk).reshape(-1, chunk)

  def sum_log_prob(index):
    x, cond = minibatches.take(data, index % rows)
    log_prob = flow.log_prob(variables, x, cond).total
    return jnp.sum(jnp.where(index < rows, log_prob, 0.0))

  return jnp.sum(jax.lax.map(sum_log_prob, index)) / rows


def _loop(epoch, fit, data, rng, *, dims, num_epochs, patience, progress):
  best, best_epoch = fit, 0
  train, validation = [], []
  with tqdm(total=num_epochs, unit="epoch", disable=not progress) as bar:
    for n in range(num_epochs):
      entries = data.entries(jax.random.fold_in(rng, n))
      fit, *measured = epoch(fit, entries, data.pool, data.validation)
      log_probs, score = jax.device_get(measured)
      _check_finite(n, log_probs, score)
      train.append(log_probs.mean())
      validation.append(score)
      if score >= max(validation):
        best, best_epoch = fit, n
      bar.set_postfix_str(f"validation {score:.3f} nats")
      bar.update()
      if n - best_epoch >= patience:
        break
  history = History(np.array(train), np.array(validation), best_epoch, dims)
  return FitResult(best.variables, history)


def _check_finite(epoch, log_probs, score):
  bad = np.flatnonzero(~np.isfinite(log_probs))
  if bad.size or not np.isfinite(score):
    place = f"step {bad[0]}" if bad.size else "its validation"
    raise Diverged(
      f"The log-probability is not finite in epoch {epoch}, {place}: lower the"
      " learning rate, or scale x and cond to zero mean and unit variance."
    )
