"""`fit`: a flow's variables from arrays or from a simulator, in one call."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from cinn_jax import likelihood
from cinn_jax.flow import Flow
from cinn_jax.training import minibatches
from cinn_jax.training.monitor import Diverged
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import Fit, init_fit, make_update


class History(NamedTuple):
  """What `fit` measured, one number per epoch.

  Attributes:
    train_log_prob: mean ln p(x | cond) over the epoch's minibatches, each under
      the parameters of its moment; numpy [epochs], nats per example.
    validation_log_prob: the same of what is held out, after the epoch.
    best_epoch: the epoch, from 0, whose variables were returned.
    dims: numbers in one x.
  """

  train_log_prob: np.ndarray
  validation_log_prob: np.ndarray
  best_epoch: int
  dims: int

  @property
  def train_bits_per_dim(self):
    return likelihood.bits_per_dim(self.train_log_prob, self.dims)

  @property
  def validation_bits_per_dim(self):
    return likelihood.bits_per_dim(self.validation_log_prob, self.dims)


class Fitted(NamedTuple):
  """The best variables of a `fit`, as the flow takes them, and its history."""

  variables: Any
  history: History


def fit(
  flow: Flow,
  rng,
  x,
  cond=None,
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
) -> Fitted:
  """Maximises the likelihood; returns `Fitted(variables, history)`.

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

  With a simulator in place of arrays there is fresh data in every step:

  >>> def simulate(rng, batch_size):
  ...   key_theta, key_noise = jax.random.split(rng)
  ...   theta = jax.random.normal(key_theta, (batch_size, 2))
  ...   noise = jax.random.normal(key_noise, (batch_size, 2))
  ...   return theta, theta + 0.1 * noise
  >>> variables, history = cinn_jax.fit(
  ...   flow, jax.random.key(2), simulate, num_epochs=2, progress=False
  ... )

  The parameters start from `flow.init` on a minibatch. After each epoch the
  rows held out are scored, and the variables of the best epoch are returned.
  The same `rng` and data give the same result on one machine. All arrays stay
  on the default device, and an epoch is one call of it.

  Args:
    flow: from `make_flow`.
    rng: a JAX random key.
    x: one of
      an array [N, *flow.event_shape] of finite floats;
      a function `simulate(rng, batch_size) -> (x, cond)` of JAX operations,
        traced into the training loop;
      an iterator that yields (x, cond) without end, for a simulator that is not
        made of JAX operations. Its minibatches have a size of their own, all
        the same.
    cond: with an array: None, or any pytree of arrays [N, ...].
    num_epochs: at most; with arrays, an epoch is once through them.
    steps_per_epoch: of a simulator or an iterator.
    batch_size: at most; fewer where there are fewer rows.
    learning_rate, schedule: Adam's peak, and its course over all `num_epochs`:
      see `training.optimizer.make_schedule`.
    clip_norm: of the whole gradient, of the loss in nats per dimension; 0 for
      none.
    optimizer: takes the place of Adam and the three arguments before.
    validation_fraction: of the rows, held out; of a simulator, as large a part
      of one epoch's minibatches, drawn once.
    patience: stops after as many epochs without a better one.
    progress: shows a bar.

  Raises:
    ValueError: for data that do not fit the flow or each other, or are not
      finite; for too few rows; for an iterator that ends.
    training.monitor.Diverged: where the loss is not finite.
  """
  _check_options(
    num_epochs=num_epochs,
    steps_per_epoch=steps_per_epoch,
    batch_size=batch_size,
    patience=patience,
  )
  if not 0 < validation_fraction < 1:
    raise ValueError(
      f"validation_fraction is between 0 and 1, got {validation_fraction}."
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
  now = init_fit(rng_init, flow, optimizer, *data.first)
  epoch = jax.jit(_make_epoch(flow, data.draw, optimizer, batch_size))
  return _loop(
    epoch, now, data, rng_epochs, flow, num_epochs, patience, progress
  )


def _check_options(**options):
  for name, value in options.items():
    if value < 1:
      raise ValueError(f"{name} is at least 1, got {value}.")


def _open(rng, x, cond, steps, **options):
  if not callable(x) and not isinstance(x, Iterator):
    return minibatches.from_arrays(rng, x, cond, **options)
  if cond is not None:
    raise ValueError(
      "A simulator yields its conditions beside x, as (x, cond): leave fit's"
      " argument cond out."
    )
  if callable(x):
    return minibatches.from_simulator(rng, x, steps=steps, **options)
  options.pop("batch_size")
  return minibatches.from_iterator(x, steps=steps, **options)


def _make_epoch(flow, draw, optimizer, chunk):
  """`(fit, entries, held, validation) -> (fit, log_prob [steps], its mean)`."""
  update = make_update(flow, optimizer)

  def epoch(now: Fit, entries, held, validation):
    def step(now, entry):
      now, measured = update(now, *draw(held, entry))
      return now, jnp.mean(measured["parts"].total)

    now, log_probs = jax.lax.scan(step, now, entries)
    scored = _mean_log_prob(flow, now.variables, validation, chunk)
    return now, log_probs, scored

  return epoch


def _mean_log_prob(flow, variables, data, chunk):
  """Mean ln p(x | cond) of all rows, `chunk` of them at a time."""
  rows = len(data[0])
  chunk = min(chunk, rows)
  index = jnp.arange(-(-rows // chunk) * chunk).reshape(-1, chunk)

  def score(index):
    x, cond = minibatches.take(data, index % rows)
    log_prob = flow.log_prob(variables, x, cond).total
    return jnp.sum(jnp.where(index < rows, log_prob, 0.0))

  return jnp.sum(jax.lax.map(score, index)) / rows


def _loop(epoch, now, data, rng, flow, num_epochs, patience, progress):
  best, best_epoch = now, 0
  train, validation = [], []
  with tqdm(total=num_epochs, unit="epoch", disable=not progress) as bar:
    for n in range(num_epochs):
      entries = data.entries(jax.random.fold_in(rng, n))
      now, *measured = epoch(now, entries, data.held, data.validation)
      log_probs, held_out = jax.device_get(measured)
      _check_finite(n, log_probs, held_out)
      train.append(log_probs.mean())
      validation.append(held_out)
      if held_out >= max(validation):
        best, best_epoch = now, n
      bar.set_postfix_str(f"validation {held_out:.3f} nats")
      bar.update()
      if n - best_epoch >= patience:
        break
  return Fitted(
    best.variables,
    History(
      np.array(train),
      np.array(validation),
      best_epoch,
      math.prod(flow.event_shape),
    ),
  )


def _check_finite(epoch, log_probs, held_out):
  bad = np.flatnonzero(~np.isfinite(log_probs))
  if bad.size or not np.isfinite(held_out):
    where = f"step {bad[0]}" if bad.size else "its validation"
    raise Diverged(
      f"The log-probability is not finite in epoch {epoch}, {where}: lower the"
      " learning rate, or bring x and cond to zero mean and unit variance."
    )
