"""`fit`: trains a flow on arrays or on a simulator, in one call."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinn_jax.bijections import standardization as units
from cinn_jax.bijections.base import Array, Condition
from cinn_jax.flow import Flow, split_variables
from cinn_jax.training import fit_options, iterators, minibatches, simulators
from cinn_jax.training.decay import make_decaying
from cinn_jax.training.epochs import FitResult, History, Loop
from cinn_jax.training.examples import Minibatch, Reader, check_pair
from cinn_jax.training.own_units import bounds_of
from cinn_jax.training.simulators import Simulator
from cinn_jax.training.step import init_fit
from cinn_jax.workdir.state import Fit

__all__ = ["FitResult", "History", "fit"]


def fit(
  flow: Flow,
  rng: Array,
  x: jax.typing.ArrayLike | Simulator | Iterable[Minibatch],
  cond: Condition = None,
  *,
  num_epochs: int = 100,
  steps_per_epoch: int = 100,
  batch_size: int = 256,
  init_batch_size: int | None = None,
  learning_rate: float | optax.Schedule = 1e-3,
  schedule: str = "cosine",
  clip_norm: float = 5.0,
  weight_decay: float | None = None,
  optimizer: optax.GradientTransformation | None = None,
  validation_fraction: float | None = None,
  patience: int = 20,
  progress: bool = True,
  standardize: bool = True,
  invalid: str = "raise",
  variables: Mapping[str, Any] | FitResult | None = None,
  validation: Minibatch | None = None,
  weights: jax.typing.ArrayLike | None = None,
) -> FitResult:
  """Trains a flow by maximum likelihood; returns `(variables, history)`.

  A posterior over theta given a measurement, learnt from pairs of the two:

  >>> import jax, cinn_jax
  >>> from cinn_jax.models.vector_flow import vector_flow
  >>> flow = cinn_jax.make_flow(
  ...   vector_flow(2, blocks=2, hidden=(16,), coupling="affine"), (2,)
  ... )
  >>> theta = jax.random.normal(jax.random.key(0), (1000, 2))
  >>> noise = 0.1 * jax.random.normal(jax.random.key(1), (1000, 2))
  >>> measured = theta**2 + noise
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

  The parameters are initialised by `flow.init` on `init_batch_size` rows. After
  each epoch the validation data are scored, and the variables of the best one
  are returned. The same `rng` and data give the same result on the same
  machine. All arrays stay on the default device, and each epoch is one compiled
  call.

  Data may have any units: x and cond are brought to zero mean and unit variance
  per column (per channel of pictures), and the numbers for that are kept in
  `variables["constants"]["standardization"]`. Densities and samples are in the
  data's own units. Integers, bools, one-hot vectors and entries named "mask" of
  a condition stay as they are, and the values that a mask hides do not count.
  So do columns of x that `Bounded` bounds at the flow's start, and all of x in
  flows with other layers in its units (`Standardize`, `Dequantization`).

  If training diverges after a good epoch, or Ctrl-C interrupts it, a
  RuntimeWarning says so and the best result so far is returned.

  Args:
    flow: From `make_flow`.
    rng: A JAX random key.
    x: The data, as one of:
      an array [N, *flow.event_shape] of finite floats, or what NumPy reads as
        such;
      a function `simulate(rng, batch_size) -> (x, cond)` of JAX operations,
        which is traced into the training loop; one that uses NumPy is found out
        and runs on the host instead, and a RuntimeWarning says so;
      an iterator that yields pairs (x, cond) without end. It sets the size of
        its minibatches, which must all be equal;
      a finite collection of such pairs, such as a list or a data loader, which
        is read once and joined to arrays.
    cond: The condition, if x is an array: a pytree of arrays [N, ...], or None.
    num_epochs: Largest number of epochs. With an array, an epoch is one pass
      through it.
    steps_per_epoch: Steps per epoch of a simulator or an iterator.
    batch_size: Rows per minibatch; fewer if x has fewer rows.
    init_batch_size: Rows from which the flow is initialised, of which only
      layers such as `ActNorm` and `ConditionalWhitening` take notice; fewer if
      x has fewer. Networks see `batch_size` of them at a time. None is 256, or
      as many vectors as there are, up to 10,000.
    learning_rate: Peak learning rate of Adam, or an optax schedule, which
      replaces the next argument.
    schedule: Learning rate over all `num_epochs`: "cosine", which falls to 0,
      or "constant"; see `training.optimizer.make_schedule`.
    clip_norm: Largest norm of the whole gradient, for the loss in nats per
      dimension of standardized x; 0 does not clip.
    weight_decay: Decoupled decay of the networks' kernels per step, as a factor
      of the learning rate (Loshchilov and Hutter 2019). None is 0 for a
      simulator or an iterator, which gives new data; for an array of N rows it
      is 10,000 / N, but at most 1, and for vectors of more than 5 numbers up to
      four times that.
    optimizer: An optax optimizer that replaces Adam and the previous four
      arguments.
    validation_fraction: Fraction of the rows to hold out, between 0 and 1. None
      is a tenth, but at least 100 rows or a third of them. For a simulator or
      an iterator, the held-out data are this fraction of one epoch's
      minibatches, taken once; None is a tenth.
    patience: Stops after this many epochs without a better one.
    progress: Shows a progress bar.
    standardize: False trains on x and cond as they are.
    invalid: What to do with rows that are not finite, or on a bound of the
      flow's `Bounded`: "raise" raises ValueError, "skip" leaves them out and
      counts them in `history.num_invalid`.
    variables: Variables to go on from, or a whole `FitResult`. They keep their
      standardization. The optimizer starts again, and parameters in float16
      become float32.
    validation: Data (x, cond) to validate on, in place of held-out data.
    weights: Weights [N] of the rows of an array, not negative. A row is drawn
      in proportion to its weight.

  Returns:
    `FitResult(variables, history)`; `variables` are those that `flow.sample`,
    `flow.log_prob` and the other functions of the flow take.

  Raises:
    ValueError: for data that do not fit the flow or each other, are not finite
      or have a constant column; for too few rows; for an option out of range;
      for an iterator that ends in the first epoch. Later, data that fail end
      the training, with a warning and the best result so far.
    training.monitor.Diverged: if the loss is not finite in the first epoch.
  """
  options = fit_options.check(
    flow=flow,
    rng=rng,
    optimizer=optimizer,
    learning_rate=learning_rate,
    clip_norm=clip_norm,
    weight_decay=weight_decay,
    num_epochs=num_epochs,
    steps_per_epoch=steps_per_epoch,
    batch_size=batch_size,
    init_batch_size=init_batch_size,
    patience=patience,
    validation_fraction=validation_fraction,
    standardize=standardize,
    invalid=invalid,
  )
  rng_data, rng_init, rng_epochs = jax.random.split(rng, 3)
  channels = flow.event_shape[-1] if flow.event_shape else 1
  low, high = bounds_of(flow.module, channels)
  reader = Reader(flow.event_shape, low, high, invalid)
  start = fit_options.read_variables(variables)
  settings = minibatches.Settings(
    module=flow.module,
    reader=reader,
    batch_size=options["batch_size"],
    init_batch_size=options["init_batch_size"],
    validation_fraction=validation_fraction,
    constants=_constants(start, standardize),
    validation=_read_validation(reader, validation),
  )
  steps = options["steps_per_epoch"]
  data = _open(rng_data, x, cond, weights, settings, steps)
  if optimizer is None:
    if weight_decay is None:
      weight_decay = data.weight_decay
    optimizer = make_decaying(
      num_steps=options["num_epochs"] * data.steps,
      learning_rate=learning_rate,
      schedule=schedule,
      clip_norm=clip_norm,
      weight_decay=weight_decay,
    )
  loop = Loop(
    flow,
    optimizer,
    data,
    batch_size=options["batch_size"],
    dims=math.prod(flow.event_shape),
    patience=options["patience"],
  )
  if start is None:
    fit_state = init_fit(
      rng_init, flow, optimizer, *data.first, options["batch_size"]
    )
  else:
    params, constants = split_variables(units.with_standardization(start, {}))
    expected = jax.eval_shape(flow.init, rng_init, *data.first)
    expected = expected.get("params", {})
    fit_options.check_fit(expected, params)
    # Adam cannot train in float16, in which files may hold them.
    params = jax.tree.map(
      lambda leaf, like: jnp.asarray(leaf, like.dtype), params, expected
    )
    fit_state = Fit(params, constants, optimizer.init(params))
    loop.score(fit_state)
  return loop.run(
    fit_state, rng_epochs, options["num_epochs"], progress=progress
  )


def _constants(start, standardize):
  """Returns the standardization to use, or None to measure one."""
  if start is not None:
    constants = units.of(start)
    return jax.tree.map(np.asarray, dict(constants))
  return None if standardize else {}


def _read_validation(reader, validation):
  if validation is None:
    return None
  x, cond = check_pair(validation, "validation")
  return reader.read(x, cond, title="validation's ")


def _open(rng, x, cond, weights, settings, steps):
  """Returns the minibatches of whatever x is."""
  if _is_collection(x, settings.reader.event_shape):
    x, cond = iterators.read_all(x) if cond is None else (x, cond)
  is_array = hasattr(x, "__array__") or isinstance(x, list | tuple)
  if is_array or not (callable(x) or isinstance(x, Iterator)):
    examples = settings.reader.read(x, cond, weights)
    return minibatches.from_arrays(rng, examples, settings)
  if cond is not None:
    raise ValueError(
      "A simulator returns its conditions together with x, as (x, cond): leave"
      " out fit's argument cond."
    )
  if weights is not None:
    raise ValueError(
      "weights are for arrays, one per row: leave them out for a simulator or"
      " an iterator."
    )
  if isinstance(x, Iterator):
    return iterators.from_iterator(x, settings, steps)
  return simulators.from_simulator(rng, x, settings, steps)


def _is_collection(x, event_shape):
  """Tells a finite collection of minibatches from an array."""
  if hasattr(x, "__array__") or isinstance(x, str | bytes | Mapping):
    return False
  if not (hasattr(x, "__iter__") and hasattr(x, "__len__")):
    return False
  first = next(iter(x), None)
  if not isinstance(first, list | tuple) or len(first) != 2:
    return False
  try:
    shape = np.shape(first[0])
  except ValueError:  # a ragged list
    return False
  return shape[1:] == tuple(event_shape) and len(shape) > len(event_shape)
