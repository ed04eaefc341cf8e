"""The optimizer that a config describes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


def make_optimizer(
  *,
  num_steps: int,
  learning_rate: float,
  schedule: str = "constant",
  schedule_options: Mapping | None = None,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
  clip_norm: float = 0.0,
  plateau: Mapping | None = None,
  groups: Mapping[str, Mapping] | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Adam, with what the published recipes add to it.

  Args:
    num_steps: the length of the run, for schedules that span it.
    learning_rate: the peak.
    schedule, schedule_options: see `make_schedule`.
    weight_decay: L2, added to the gradient as PyTorch's Adam does (coupled).
    clip_norm: of the whole gradient; 0 for none.
    plateau: arguments of `optax.contrib.reduce_on_plateau`, or None; the loss
      is its value.
    groups: by the path of a part of the parameters ("condition_net",
      "condition_net/feature_net"), what differs there: learning_rate, eps,
      weight_decay; `frozen_steps`, for which the part stays as it is (-1:
      throughout), while its moments follow the gradient; and `paused`, a pair
      of steps (begin, end) between which nothing of it moves, moments included
      (an end of -1: never again). The longest path that fits counts.

  Raises:
    ValueError: for an unknown schedule, or a group that names no parameters.
  """
  groups = {name: dict(group) for name, group in (groups or {}).items()}
  common = {
    "learning_rate": learning_rate,
    "eps": eps,
    "weight_decay": weight_decay,
    "frozen_steps": 0,
    "paused": None,
  }

  def adam(learning_rate, eps, weight_decay, frozen_steps, paused):
    if frozen_steps < 0:
      return optax.set_to_zero()
    rate = make_schedule(
      learning_rate, num_steps, schedule, **(schedule_options or {})
    )
    moments = scale_by_adam(b1, b2, eps)
    return optax.chain(
      optax.add_decayed_weights(weight_decay)
      if weight_decay
      else optax.identity(),
      _pausing(moments, *paused) if paused else moments,
      optax.scale_by_learning_rate(_after(frozen_steps, rate)),
    )

  transforms = {"": adam(**common)}
  for name, group in groups.items():
    transforms[name] = adam(**{**common, **group})

  def labels(params):
    matched = set()

    def label(path, _):
      name = "/".join(str(entry.key) for entry in path)
      owners = [g for g in groups if f"{name}/".startswith(f"{g}/")]
      matched.update(owners)
      return max(owners, key=len, default="")

    tree = jax.tree.map_with_path(label, params)
    unknown = sorted(set(groups) - matched)
    if unknown:
      raise ValueError(
        f"optimizer.groups names {unknown}, but the model's parameters are"
        f" under {sorted(params)}."
      )
    return tree

  return optax.chain(
    _clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
    optax.partition(transforms, labels),
    optax.contrib.reduce_on_plateau(**plateau) if plateau else optax.identity(),
  )


class Moments(NamedTuple):
  """Adam's state; its names are those of optax's, and of checkpoints."""

  count: jax.Array
  mu: optax.Updates
  nu: optax.Updates


def scale_by_adam(b1: float, b2: float, eps: float):
  """As optax's, with moments that stay as they are where `diverged`.

  Which moments stay is chosen before the update is made of them. So new ones
  take the place of the old in memory; chosen afterwards, the update is made of
  the old ones once more, which have to be copied for it.
  """

  def init(params):
    zeros = optax.tree.zeros_like
    return Moments(jnp.zeros([], jnp.int32), zeros(params), zeros(params))

  def update(gradients, state, params=None, *, diverged=False, **_):
    del params

    def moved(moment, decay, order):
      new = optax.tree.update_moment(gradients, moment, decay, order)
      return choose(diverged, moment, new)

    mu, nu = moved(state.mu, b1, 1), moved(state.nu, b2, 2)
    count = choose(diverged, state.count, state.count + 1)
    updates = jax.tree.map(
      lambda m, v: m / (jnp.sqrt(v) + eps),
      optax.tree.bias_correction(mu, b1, count),
      optax.tree.bias_correction(nu, b2, count),
    )
    return updates, Moments(count, mu, nu)

  return optax.GradientTransformationExtraArgs(init, update)


def choose(diverged, old, new):
  """The tree `old` where diverged, else `new`; `Moments` chose already."""

  def chosen(node):
    return isinstance(node, Moments)

  return jax.tree.map(
    lambda new, old: new if chosen(new) else jnp.where(diverged, old, new),
    *(new, old),
    is_leaf=chosen,
  )


def _clip_by_global_norm(max_norm):
  """As optax's, with one factor for all: cheap enough to be fused into Adam.

  optax's divides every number by the norm, which on a CPU is a pass of its own
  through all gradients.
  """

  def update(gradients, state, params=None):
    del params
    norm = optax.tree.norm(gradients)
    factor = jnp.where(norm < max_norm, 1.0, max_norm / norm)
    return jax.tree.map(lambda leaf: factor * leaf, gradients), state

  return optax.GradientTransformation(optax.init_empty_state, update)


def make_schedule(
  learning_rate: float,
  num_steps: int,
  schedule: str,
  *,
  warmup_steps: int = 0,
  warmup_fractions: Sequence[float] = (0.0, 1.0),
  end_fraction: float = 0.0,
  every: int = 1,
  boundaries: Sequence[int] = (),
  factor: float = 1.0,
):
  """The learning rate as a function of the step.

  Args:
    schedule: "constant"; "cosine", to `end_fraction` of the peak at
      `num_steps`; "step", times `factor` after each `every` steps; or
      "multistep", times `factor` at each of `boundaries`.
    warmup_steps: before any of them, whose steps count from there on.
    warmup_fractions: of the peak, from which to which the warm-up grows
      linearly; two equal ones make it constant.

  Raises:
    ValueError: for an unknown schedule.
  """
  after = max(num_steps - warmup_steps, 1)
  if schedule == "constant":
    rate = optax.constant_schedule(learning_rate)
  elif schedule == "cosine":
    rate = optax.cosine_decay_schedule(learning_rate, after, end_fraction)
  elif schedule == "step":
    rate = optax.exponential_decay(learning_rate, every, factor, staircase=True)
  elif schedule == "multistep":
    scales = dict.fromkeys(boundaries, factor)
    rate = optax.piecewise_constant_schedule(learning_rate, scales)
  else:
    raise ValueError(
      f"Unknown schedule {schedule!r}; there are constant, cosine, step and"
      " multistep."
    )
  if not warmup_steps:
    return rate
  first, last = (learning_rate * fraction for fraction in warmup_fractions)
  warmup = optax.linear_schedule(first, last, warmup_steps)
  return optax.join_schedules([warmup, rate], [warmup_steps])


def _after(frozen_steps, rate):
  if not frozen_steps:
    return rate
  return lambda step: jnp.where(step < frozen_steps, 0.0, rate(step))


def _pausing(inner, begin, end):
  """`inner` outside of these steps; inside, zeros, and its state waits."""

  def runs(step):
    return (step < begin) | ((step >= end) & (end >= 0))

  return optax.conditionally_mask(inner, runs)
