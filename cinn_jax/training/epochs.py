"""The loop of `fit`: its epochs, its history, and what stops it early."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from cinn_jax import likelihood
from cinn_jax.bijections import standardization as units
from cinn_jax.bijections.base import Array, PyTree
from cinn_jax.flow import Flow
from cinn_jax.training.causes import Trouble, find_cause
from cinn_jax.training.minibatches import Minibatches, take, to_device
from cinn_jax.training.monitor import Diverged
from cinn_jax.training.step import make_update
from cinn_jax.workdir.state import Fit


class History(NamedTuple):
  """The log-probabilities that `fit` measured in each epoch.

  All are densities in the data's own units.

  Attributes:
    train_log_prob: Mean ln p(x | cond) over the epoch's minibatches, each under
      the parameters at that step; numpy [epochs], nats per example.
    validation_log_prob: Mean ln p(x | cond) of the validation data after the
      epoch; numpy [epochs], nats per example.
    best_epoch: Index of the epoch whose variables were returned; -1 if these
      are the variables that `fit` was given, because no epoch was better.
    dims: Number of values in one x.
    num_invalid: Number of rows that `invalid="skip"` left out.
  """

  train_log_prob: np.ndarray
  validation_log_prob: np.ndarray
  best_epoch: int
  dims: int
  num_invalid: int = 0

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


class Loop:
  """Trains epoch by epoch and keeps the best variables.

  Args:
    flow: From `make_flow`.
    optimizer: An optax optimizer.
    data: The minibatches, in the flow's units.
    batch_size: Rows that are scored at once.
    dims: Number of values in one x.
    patience: Stops after this many epochs without a better one.
  """

  def __init__(
    self,
    flow: Flow,
    optimizer: optax.GradientTransformation,
    data: Minibatches,
    *,
    batch_size: int,
    dims: int,
    patience: int,
  ):
    self._flow, self._data = flow, data
    self._dims, self._patience = dims, patience
    self._chunk = batch_size
    self._best: Fit | None = None
    self._best_epoch, self._best_score = -1, -np.inf
    self._train: list[float] = []
    self._validation: list[float] = []
    self._num_invalid = data.num_invalid
    # Density of x in its own units, given that of standardized x.
    example = jnp.zeros((1, *flow.event_shape))
    self._offset = float(np.sum(units.log_det(data.constants, example)))
    weights = data.validation.weights
    self._validation_data = to_device(data.validation)
    self._weights = jnp.asarray(
      np.ones(len(data.validation.x)) if weights is None else weights,
      jnp.float32,
    )
    self._epoch = jax.jit(_make_epoch(flow, data.draw, optimizer, batch_size))

  def score(self, fit: Fit) -> None:
    """Scores variables that were trained before: they may stay the best."""
    # Flows need not be hashable, so none is an argument.
    run = jax.jit(
      functools.partial(_mean_log_prob, self._flow, chunk=self._chunk)
    )
    score = run(fit.variables, self._validation_data, self._weights)
    if np.isfinite(score):
      self._best, self._best_score = fit, float(score)

  def run(
    self, fit: Fit, rng: Array, num_epochs: int, *, progress: bool
  ) -> FitResult:
    """Trains from `fit`; Ctrl-C and failures later on return the best so far.

    Raises:
      Diverged, KeyboardInterrupt: if there is no good epoch yet.
    """
    with tqdm(total=num_epochs, unit="epoch", disable=not progress) as bar:
      try:
        for n in range(num_epochs):
          try:
            entries = self._data.entries(jax.random.fold_in(rng, n))
          except Exception as error:  # whatever the user's own code raises
            if self._best is None:
              raise
            self._warn(f"The data of epoch {n} failed: {error}")
            break
          fit = self._one_epoch(n, fit, *entries)
          bar.set_postfix_str(
            f"validation {self._validation[-1]:.3f} nats"
            + (f", {self._num_invalid} invalid" if self._num_invalid else "")
          )
          bar.update()
          if n - self._best_epoch >= self._patience:
            break
      except KeyboardInterrupt:
        if self._best is None:
          raise
        self._warn("fit was interrupted.")
      except Diverged as error:
        error.result = self._result() if self._best is not None else None
        if error.result is None:
          raise
        self._warn(str(error))
    return self._result()

  def _one_epoch(
    self, n: int, fit: Fit, entries: PyTree, num_invalid: int
  ) -> Fit:
    after, *measured = self._epoch(
      fit, entries, self._data.pool, self._validation_data, self._weights
    )
    log_probs, skipped, score = jax.device_get(measured)
    bad = np.flatnonzero(~np.isfinite(log_probs))
    if bad.size or not np.isfinite(score):
      place = f"step {bad[0]}" if bad.size else "its validation"
      trouble = Trouble(
        flow=self._flow,
        data=self._data,
        # Entries of the step, and variables that are finite.
        entry=jax.tree.map(lambda leaf: leaf[bad[0]], entries)
        if bad.size
        else None,
        variables=fit.variables if bad.size else after.variables,
      )
      raise Diverged(
        f"The log-probability is not finite in epoch {n}, {place}:"
        f" {find_cause(trouble)}"
      )
    self._num_invalid += num_invalid + int(skipped.sum())
    self._train.append(float(log_probs.mean()) + self._offset)
    self._validation.append(float(score) + self._offset)
    if score >= self._best_score:
      self._best, self._best_epoch = after, n
      self._best_score = float(score)
    return after

  def _warn(self, reason):
    result = f"the best of {len(self._train)} epochs"
    if self._best_epoch < 0:
      result = "what fit was given"
    warnings.warn(
      f"{reason} The result is {result}.",
      RuntimeWarning,
      stacklevel=4,
    )

  def _result(self) -> FitResult:
    assert self._best is not None
    history = History(
      train_log_prob=np.array(self._train),
      validation_log_prob=np.array(self._validation),
      best_epoch=self._best_epoch,
      dims=self._dims,
      num_invalid=self._num_invalid,
    )
    constants = jax.tree.map(jnp.asarray, self._data.constants)
    variables = units.with_standardization(self._best.variables, constants)
    return FitResult(variables, history)


def _make_epoch(flow, draw, optimizer, chunk) -> Callable[..., Any]:
  """Returns one epoch of training, with the score of the validation data.

  It is `(fit, entries, pool, validation, weights) -> (fit, log_prob [steps],
  num_invalid [steps], score)`.
  """
  update = make_update(flow, optimizer)

  def epoch(fit: Fit, entries, pool, validation, weights):
    def step(fit, entry):
      x, cond, num_invalid = draw(pool, entry)
      after, measured = update(fit, x, cond)
      # With 64-bit JAX, optimizers mix precisions; a loop cannot.
      after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, fit)
      log_prob = jnp.mean(measured["parts"].total)
      return after, (log_prob, jnp.asarray(num_invalid))

    fit, (log_probs, skipped) = jax.lax.scan(step, fit, entries)
    score = _mean_log_prob(flow, fit.variables, validation, weights, chunk)
    return fit, log_probs, skipped, score

  return epoch


def _mean_log_prob(flow, variables, data, weights, chunk):
  """Returns the weighted mean of ln p(x | cond), computed in chunks."""
  rows = len(data[0])
  chunk = min(chunk, rows)
  index = jnp.arange(-(-rows // chunk) * chunk).reshape(-1, chunk)

  def sum_log_prob(index):
    x, cond = take(data, index % rows)
    log_prob = flow.log_prob(variables, x, cond).total
    return jnp.sum(
      jnp.where(index < rows, weights[index % rows] * log_prob, 0.0)
    )

  return jnp.sum(jax.lax.map(sum_log_prob, index)) / jnp.sum(weights)
