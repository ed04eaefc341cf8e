"""The optimizer that a config describes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cinn_jax.bijections.base import Array, PyTree


def make_optimizer(
  *,
  num_steps: int,
  learning_rate: float,
  schedule: str = "constant",
  schedule_options: Mapping[str, Any] | None = None,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
  clip_value: float = 0.0,
  clip_norm: float = 0.0,
  plateau: Mapping[str, Any] | None = None,
  groups: Mapping[str, Mapping[str, Any]] | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Returns Adam with the additions of the published recipes.

  Args:
    num_steps: Length of the run, for schedules that span it.
    learning_rate: Peak learning rate.
    schedule: Name of a schedule; see `make_schedule`.
    schedule_options: Further arguments of `make_schedule`.
    b1: Decay of the first moment.
    b2: Decay of the second moment.
    eps: Added to the root of the second moment.
    weight_decay: L2, added to the gradient as in PyTorch's Adam (coupled), but
      not if a weight's gradient is exactly 0. Adam would move weights that
      never get one, such as those on padding, as fast as any other.
    clip_value: Largest absolute value of each number of the gradient, before
      its norm is looked at; 0 does not clip.
    clip_norm: Largest norm of the whole gradient; 0 does not clip.
    plateau: Arguments of `optax.contrib.reduce_on_plateau`, which watches the
      loss, or None.
    groups: Settings that differ for a part of the parameters, by the path of
      that part ("condition_net", "condition_net/feature_net"). The longest
      matching path counts. A group may have:
        learning_rate, eps, weight_decay: As above.
        frozen_steps: Number of first steps in which the part does not change,
          while its moments follow the gradient; -1 for all steps.
        paused: A pair of steps (begin, end) between which neither the part nor
          its moments change; an end of -1 means forever.

  Raises:
    ValueError: for an unknown schedule, or a group that matches no parameters.
  """
  parts = {name: dict(group) for name, group in (groups or {}).items()}
  common: dict[str, Any] = {
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
      _add_decayed_weights(weight_decay) if weight_decay else optax.identity(),
      _pausing(moments, *paused) if paused else moments,
      optax.scale_by_learning_rate(_after(frozen_steps, rate)),
    )

  transforms = {"": adam(**common)}
  for name, group in parts.items():
    transforms[name] = adam(**{**common, **group})

  def labels(params):
    matched = set()

    def label(path, _):
      name = "/".join(str(entry.key) for entry in path)
      owners = [g for g in parts if f"{name}/".startswith(f"{g}/")]
      matched.update(owners)
      return max(owners, key=len, default="")

    tree = jax.tree.map_with_path(label, params)
    unknown = sorted(set(parts) - matched)
    if unknown:
      raise ValueError(
        f"optimizer.groups names {unknown}, but the model's parameters are"
        f" under {sorted(params)}."
      )
    return tree

  clip = _clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
  if clip_value:
    # A chain of its own: checkpoints of other runs keep their structure.
    clip = optax.chain(optax.clip(clip_value), clip)
  return optax.chain(
    clip,
    optax.partition(transforms, labels),
    optax.contrib.reduce_on_plateau(**plateau) if plateau else optax.identity(),
  )


class Moments(NamedTuple):
  """Adam's state; checkpoints and optax use the same names."""

  count: Array  # type: ignore[assignment]  # Hides a method of tuples.
  mu: optax.Updates
  nu: optax.Updates


def scale_by_adam(
  b1: float, b2: float, eps: float
) -> optax.GradientTransformationExtraArgs:
  """Returns optax's `scale_by_adam` with moments that stay if `diverged`.

  Selects the moments before computing the update, so XLA can overwrite them in
  place. Selecting afterwards would force a copy.
  """

  def init(params):
    zeros = optax.tree.zeros_like
    return Moments(jnp.zeros([], jnp.int32), zeros(params), zeros(params))

  def update(gradients, state, params=None, *, diverged=False, **_):
    del params

    def next_moment(moment, decay, order):
      new = optax.tree.update_moment(gradients, moment, decay, order)
      return choose(diverged, moment, new)

    mu = next_moment(state.mu, b1, 1)
    nu = next_moment(state.nu, b2, 2)
    count = choose(diverged, state.count, state.count + 1)
    updates = jax.tree.map(
      lambda m, v: m / (jnp.sqrt(v) + eps),
      optax.tree.bias_correction(mu, b1, count),
      optax.tree.bias_correction(nu, b2, count),
    )
    return updates, Moments(count, mu, nu)

  return optax.GradientTransformationExtraArgs(init, update)


def choose(diverged: Array | bool, old: PyTree, new: PyTree) -> PyTree:
  """Returns the tree `old` if diverged, else `new`.

  `Moments` are taken from `new`: `scale_by_adam` has chosen them already.
  """

  def is_moments(node):
    return isinstance(node, Moments)

  def pick(new, old):
    return new if is_moments(new) else jnp.where(diverged, old, new)

  return jax.tree.map(pick, new, old, is_leaf=is_moments)


def _add_decayed_weights(weight_decay):
  """Adds decay as optax does, to gradients that are not 0."""

  def update(gradients, state, params=None):
    def add(gradient, weight):
      decayed = gradient + weight_decay * weight
      return jnp.where(gradient == 0, gradient, decayed)

    return jax.tree.map(add, gradients, params), state

  return optax.GradientTransformation(optax.init_empty_state, update)


def _clip_by_global_norm(max_norm):
  """Clips as optax does, by one common factor that XLA can fuse into Adam.

  optax divides every number by the norm, which on a CPU is a separate pass over
  all gradients.
  """

  def update(gradients, state, params=None):
    del params
    norm = optax.tree.norm(gradients)
    factor = jnp.where(norm < max_norm, 1.0, max_norm / norm)

    # In the leaf's own precision, which with 64-bit JAX need not be the norm's.
    def clip(leaf):
      return factor.astype(leaf.dtype) * leaf

    return jax.tree.map(clip, gradients), state

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
) -> optax.Schedule:
  """Returns the learning rate as a function of the step.

  Args:
    learning_rate: Peak learning rate.
    num_steps: Length of the run.
    schedule: "constant"; "cosine", which falls to `end_fraction` of the peak at
      `num_steps`; "step", multiplied by `factor` after every `every` steps; or
      "multistep", multiplied by `factor` at each of `boundaries`.
    warmup_steps: Length of the warm-up. The steps of the schedule count from
      its end.
    warmup_fractions: Fractions of the peak between which the warm-up grows
      linearly; if they are equal, it is constant.
    end_fraction: See "cosine".
    every: See "step".
    boundaries: See "multistep".
    factor: See "step" and "multistep".

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
      f"Unknown schedule {schedule!r}: expected constant, cosine, step or"
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
  """Applies `inner`, except from `begin` to `end`, where nothing changes."""

  def runs(step):
    return (step < begin) | ((step >= end) & (end >= 0))

  return optax.conditionally_mask(inner, runs)
