"""Training for a number of processor seconds, with the rate as an argument."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from cinn_jax.experiment.build import build
from cinn_jax.flow import make_flow
from cinn_jax.training import budget, phases, setup
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import State, init_state

# Steps between two looks at the clock.
_STEPS = 5


class Trained(NamedTuple):
  """The end of a training.

  Attributes:
    variables: The variables, with averaged parameters.
    steps: Steps taken.
    skipped: Steps that were not finite.
    seconds: Seconds of the processor.
    diverged: True if it was given up after too many such steps in a row.
    last: Means of the logged numbers over the last tenth of the steps.
  """

  variables: dict[str, Any]
  steps: int
  skipped: int
  seconds: float
  diverged: bool
  last: dict[str, float]


class Trainer:
  """Trains one model with several seeds and rates, by one compiled step.

  Args:
    config: Its config. The schedule and the rates are ignored: the rate warms
      up, then falls along a cosine; frozen groups stay frozen.
    records: Training data, as arrays.
    augment: True to mirror pictures at random.
    change: Changes the module of the flow, for a variant without a config.
    ema_decay: Decay of the averaged parameters.
  """

  def __init__(
    self,
    config: ConfigDict,
    records: dict[str, np.ndarray],
    *,
    augment: bool = False,
    ema_decay: float = 0.99,
    change: Callable[[Any], Any] | None = None,
  ):
    self._config, self._records, self._augment = config, records, augment
    self.flow, self.task = build(config)
    if change is not None:
      self.flow = make_flow(
        change(self.flow.module), self.task.event_shape, self.task.cond_shape
      )
    self._size, self._ema = config.train.batch_size, ema_decay
    self._optimizer = optax.chain(
      make_optimizer(num_steps=1, **self._options()),
      optax.inject_hyperparams(optax.scale)(step_size=0.0),
    )
    self._advance: Any = None
    self._init = jax.jit(
      lambda rng, batch: init_state(
        rng,
        self.flow,
        self.task,
        self._optimizer,
        batch,
        batch_size=self._size,
      )
    )

  def _options(self):
    options = phases.optimizer_options(self._config)
    for name in ("schedule", "schedule_options", "plateau"):
      options.pop(name, None)
    # Each group has its own rate; the scale multiplies them all.
    groups = {
      name: {k: 1.0 if k == "learning_rate" else v for k, v in group.items()}
      for name, group in (options.pop("groups", None) or {}).items()
    }
    return {**options, "learning_rate": 1.0, "groups": groups}

  def train(
    self,
    seconds: float,
    rate: float,
    seed: int,
    report: Callable[[str], None] = lambda text: None,
    start: dict[str, Any] | None = None,
  ) -> Trained:
    """Trains for a number of processor seconds, summed over threads.

    Args:
      seconds: Length of the training.
      rate: The highest learning rate.
      seed: Seed for parameters, order and noise.
      report: Called with lines of progress.
      start: Parameters of parts that are already trained, see `with_parts`.
    """
    order = self._order(seed)
    first = max(self._size, setup.init_batch_size(self._config))
    rows = np.random.default_rng(seed).permutation(len(self._records["image"]))
    state: State = self._init(
      # This generator compiles fast.
      jax.random.key(seed, impl="rbg"),
      self._batch(rows[:first], None),
    )
    if start is not None:
      state = with_parts(state, start)
    if self._advance is None:
      self._advance = self._compiled(state)
    spent, skipped, told, numbers = 0.0, 0, 0, []
    while spent < seconds:
      begin = time.process_time()
      scale = np.float32(rate * budget.schedule(spent / seconds))
      for _ in range(_STEPS):
        state, metrics = self._advance(
          state, np.uint32(seed), scale, next(order)
        )
        numbers.append(metrics)
      jax.block_until_ready(state)
      spent += time.process_time() - begin
      skipped += sum(int(m["skipped"]) > 0 for m in numbers[-_STEPS:])
      if bool(state.diverged):
        break
      if spent >= seconds * (told + 1) / 4:
        told += 1
        value = numbers[-1].get("bits_per_dim", numbers[-1].get("loss"))
        report(
          f"rate {rate:g}, seed {seed}: {spent:.0f} s, step {len(numbers)},"
          f" {'bits/dim' if 'bits_per_dim' in numbers[-1] else 'loss'}"
          f" {float(value):.3f}"
        )
    recent = jax.device_get(numbers[-max(1, len(numbers) // 10) :])
    return Trained(
      variables=jax.device_get(state.ema_variables),
      steps=int(state.step),
      skipped=skipped,
      seconds=round(spent, 1),
      diverged=bool(state.diverged),
      last={k: float(np.mean([m[k] for m in recent])) for k in recent[0]},
    )

  def _compiled(self, state):
    def advance(state, seed, scale, batch):
      step = make_train_step(
        self.flow, self.task, self._optimizer, seed=seed, ema_decay=self._ema
      )
      inner, last = state.fit.optimizer
      last = last._replace(hyperparams={"step_size": scale})
      fit = state.fit._replace(optimizer=(inner, last))
      return step(state._replace(fit=fit), batch)

    batch = next(self._order(0))
    # Compiled before the clock starts.
    return (
      jax.jit(advance, donate_argnums=0)
      .lower(state, jnp.uint32(0), jnp.float32(0), batch)
      .compile()
    )

  def _order(self, seed):
    """Yields batches from an endless series of shuffled epochs."""
    count = len(self._records["image"])
    mirror = np.random.default_rng((seed, 1)) if self._augment else None
    for epoch in range(2**31):
      rows = np.random.default_rng((seed, 0, epoch)).permutation(count)
      for first in range(0, count - self._size + 1, self._size):
        yield self._batch(rows[first : first + self._size], mirror)

  def _batch(self, rows, mirror):
    batch = {name: values[rows] for name, values in self._records.items()}
    if mirror is not None:
      flip = mirror.random(len(rows)) < 0.5
      image = batch["image"]
      batch["image"] = np.where(
        flip[:, None, None, None], image[:, :, ::-1], image
      )
    return batch


def with_parts(state: State, parts: dict[str, Any]) -> State:
  """Returns a state in which some parts of the model have other parameters."""
  own = jax.tree.map(jnp.shape, {k: state.fit.params[k] for k in parts})
  if own != jax.tree.map(jnp.shape, parts):
    raise ValueError("The parts that are trained already are other networks.")
  # Buffers of their own: the step donates both.
  params, average = (
    {**tree, **jax.tree.map(jnp.array, parts)}
    for tree in (state.fit.params, state.ema)
  )
  return state._replace(fit=state.fit._replace(params=params), ema=average)
