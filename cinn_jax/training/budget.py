"""Trains a flow for a number of seconds, from views (a command).

  python -m cinn_jax.training.budget --config=configs/colorize.py:photographs \\
    --config.model.level=16 --config.data.path=views --seconds=600 \\
    --output=levels/16.safetensors

`data.prepare_views` makes the views. Seconds are those of the processor, of all
threads together (--clock=wall: of the clock), without compilation and
validation. The rate warms up for a twentieth of them, then falls as a cosine to
0 at their end, whatever the speed. The averaged parameters are written, and
their curve of validation bits/dim next to them, as JSON. A level's bits/dim are
its share of those of x; shares add up.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from ml_collections import ConfigDict
from tqdm import tqdm

from cinn_jax import cli
from cinn_jax.bijections.base import PyTree
from cinn_jax.data.views import Views
from cinn_jax.experiment.build import build, build_task
from cinn_jax.flow import Flow, split_variables
from cinn_jax.models.networks import features
from cinn_jax.runtime import storage
from cinn_jax.tasks import Task
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir import portable
from cinn_jax.workdir.state import State, init_state

WARM_UP = 0.05
CLOCKS = {"processor": time.process_time, "wall": time.monotonic}
# Steps from one look at the clock to the next.
_STEPS = 10


class Point(NamedTuple):
  """The state of a training after some seconds.

  Attributes:
    seconds: Seconds spent.
    steps: Steps taken.
    train: Mean training bits/dim since the last point.
    validation: Validation bits/dim of the averaged parameters, with hints as in
      training.
    without_hints: The same without hints, or None for a task without them.
    skipped: Steps that were not finite, until now.
  """

  seconds: float
  steps: int
  train: float | None
  validation: float
  without_hints: float | None
  skipped: int


def train(
  config: ConfigDict,
  seconds: float,
  *,
  clock: str = "processor",
  points: int = 4,
  start: str = "",
  report: Callable[[list[Point], Flow, dict[str, Any]], None] | None = None,
) -> tuple[Flow, dict[str, Any], list[Point]]:
  """Trains the flow of a config on the views at `data.path`.

  Args:
    config: The config; its schedule and number of steps do not count.
    seconds: Length of the training.
    clock: A name in `CLOCKS`.
    points: Number of validations, evenly spread until the end.
    start: A file of an earlier training, to go on from its parameters.
    report: Called at each point with the points, the flow and its variables.

  Returns:
    The flow, its variables with averaged parameters, and the points.

  Raises:
    FileNotFoundError: if there are no views.
    ValueError: if the config does not fit the views.
    RuntimeError: if the parameters are no longer finite.
  """
  config = for_views(config)
  flow, task = build(config)
  train_views, validation_views = (
    Views(config.data.path, split) for split in ("train", "validation")
  )
  settings = config.train
  optimizer = optax.chain(
    make_optimizer(num_steps=1, **_constant_rate(config)),
    optax.inject_hyperparams(optax.scale)(step_size=0.0),
  )
  step = make_train_step(
    flow, task, optimizer, seed=settings.seed, ema_decay=settings.ema_decay
  )
  batches = _batches(train_views, settings.batch_size, settings.seed)
  state = jax.jit(
    lambda batch: init_state(
      jax.random.key(settings.seed),
      flow,
      task,
      optimizer,
      batch,
      averaged=bool(settings.ema_decay),
    )
  )(next(batches))
  if start:
    state = with_variables(state, portable.load(start, flow)[1])
  # Compiled before the clock runs.
  advance = (
    jax.jit(_with_rate(step), donate_argnums=0)
    .lower(state, next(batches), np.float32(0))
    .compile()
  )
  tasks = [task]
  if config.task.get("hints"):
    tasks.append(build_task(**{**config.task.to_dict(), "hint_share": 0.0}))
  scorers = [make_scorer(flow, each) for each in tasks]
  now = CLOCKS[clock]
  curve: list[Point] = []
  spent, losses, skipped = 0.0, [], 0
  with tqdm(total=round(seconds), unit="s", desc="training") as bar:
    while spent < seconds:
      begin = now()
      for _ in range(_STEPS):
        rate = config.optimizer.learning_rate * schedule(spent / seconds)
        state, metrics = advance(state, next(batches), np.float32(rate))
        losses.append(metrics["bits_per_dim"])
        skipped += metrics["skipped"] > 0
      jax.block_until_ready(state)
      spent += now() - begin
      bar.update(round(min(spent, seconds)) - bar.n)
      if bool(state.diverged):
        raise RuntimeError(f"Not finite after {int(state.step)} steps.")
      if spent >= seconds * (len(curve) + 1) / points:
        scores = [
          score(state.ema_variables, validation_views) for score in scorers
        ]
        curve.append(_point(spent, state, losses, scores, int(skipped)))
        losses = []
        if report is not None:
          report(curve, flow, jax.device_get(state.ema_variables))
  return flow, jax.device_get(state.ema_variables), curve


def _point(spent, state, losses, scores, skipped):
  return Point(
    seconds=round(spent, 1),
    steps=int(state.step),
    train=_finite_mean(jax.device_get(losses)),
    validation=scores[0],
    without_hints=scores[1] if scores[1:] else None,
    skipped=skipped,
  )


def _finite_mean(losses):
  """Returns the mean without skipped steps, or None if all were skipped."""
  finite = [float(loss) for loss in losses if np.isfinite(loss)]
  return float(np.mean(finite)) if finite else None


def with_variables(state: State, variables: dict[str, PyTree]) -> State:
  """Returns a state with these variables; its average starts there too."""
  params, constants = split_variables(variables)
  params = jax.tree.map(jnp.float32, params)
  ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
  fit = state.fit._replace(params=params, constants=constants)
  return state._replace(fit=fit, ema=ema)


def for_views(config: ConfigDict) -> ConfigDict:
  """Returns the config with features from views in place of the network."""
  # Token flows take the features of a condition without being told.
  name = config.model.name
  if "features" not in config.model and name != "token_flow":
    raise ValueError(
      f"training.budget is for flows of colours, not for {name}: use"
      " --mode=train."
    )
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.data.source = "views"
    if config.model.get("features"):
      config.task.given_features = True
      # A pyramid takes what the condition brings; others add it by name.
      is_pyramid = name == "wavelet_flow"
      config.model.features = "" if is_pyramid else features.GIVEN
  return config


def _constant_rate(config):
  options = config.optimizer.to_dict()
  for name in ("schedule", "schedule_options"):
    options.pop(name, None)
  return {**options, "learning_rate": 1.0}


def schedule(fraction: float) -> float:
  """Returns the factor of the rate after a fraction of the time."""
  if fraction < WARM_UP:
    return fraction / WARM_UP
  return 0.5 + 0.5 * math.cos(
    math.pi * min((fraction - WARM_UP) / (1 - WARM_UP), 1.0)
  )


def _with_rate(step):
  def advance(state: State, batch, rate):
    inner, scale = state.fit.optimizer
    scale = scale._replace(hyperparams={"step_size": rate})
    fit = state.fit._replace(optimizer=(inner, scale))
    return step(state._replace(fit=fit), batch)

  return advance


def _batches(views: Views, size: int, seed: int) -> Iterator[dict[str, Any]]:
  """Yields batches of endless shuffled epochs."""
  rows = np.zeros(0, int)
  epoch = 0
  while True:
    while len(rows) < size:
      order = np.random.default_rng((seed, epoch)).permutation(len(views))
      rows, epoch = np.concatenate([rows, order]), epoch + 1
    yield views.batch(np.sort(rows[:size]))
    rows = rows[size:]


def make_scorer(flow: Flow, task: Task) -> Callable[..., float]:
  """Returns `score(variables, views)`: mean bits/dim, with seeded noise."""
  dims = math.prod(task.event_shape)

  @jax.jit
  def total(variables, batch, index):
    rng = jax.random.fold_in(jax.random.key(0), index)
    x, cond = task.add_noise(rng, *task.prepare(batch))
    return flow.log_prob(variables, x, cond).total

  def score(variables, views):
    totals = []
    for first in range(0, len(views), 16):
      rows = np.arange(first, first + 16)
      kept = rows < len(views)
      batch = views.batch(np.minimum(rows, len(views) - 1))
      values = np.asarray(total(variables, batch, first), np.float64)
      totals.append(values[kept])
    return float(-np.concatenate(totals).mean() / dims / math.log(2))

  return score


def _run():
  output = storage.path(_OUTPUT.value)
  output.parent.mkdir(parents=True, exist_ok=True)
  start = time.monotonic()

  def write(curve, flow, variables):
    portable.save(output, flow, variables)
    record = {
      "seconds": _SECONDS.value,
      "clock": _CLOCK.value,
      "wall_seconds": round(time.monotonic() - start, 1),
      "parameters": sum(a.size for a in jax.tree.leaves(variables["params"])),
      "curve": [point._asdict() for point in curve],
    }
    text = json.dumps(record, indent=1) + "\n"
    output.with_suffix(".json").write_text(text)
    # Not into the progress bar.
    tqdm.write(json.dumps(curve[-1]._asdict()))

  train(
    cli.CONFIG.value,
    _SECONDS.value,
    clock=_CLOCK.value,
    points=_POINTS.value,
    start=_START.value,
    report=write,
  )
  print(f"Wrote {output}.")


if __name__ == "__main__":
  # Only here: other commands have flags of these names.
  flags.adopt_module_key_flags(cli)
  _SECONDS = flags.DEFINE_float("seconds", 600.0, "Length of the training.")
  _CLOCK = flags.DEFINE_enum(
    "clock", "processor", ["processor", "wall"], "The clock of --seconds."
  )
  _OUTPUT = flags.DEFINE_string("output", None, "The file to write.")
  _POINTS = flags.DEFINE_integer(
    "points", 4, "Validations until the end.", lower_bound=1
  )
  _START = flags.DEFINE_string("start", "", "A file to go on from.")
  cli.run(_run, required=["config", "output"])
