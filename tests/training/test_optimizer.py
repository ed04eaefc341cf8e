"""The optimizer and its schedules against the published formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from cinn_jax.training.optimizer import (
  make_optimizer,
  make_schedule,
  scale_by_adam,
)
from configs import colorize, mnist

PARAMS = {
  "condition_net": {"kernel": np.array([[0.5, -1.0], [2.0, 0.1]])},
  "bijection": {"bias": np.array([1.5, -0.3, 0.0])},
}


def _float32(tree):
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def _gradients(steps, seed=0, scale=1.0):
  random = np.random.default_rng(seed)
  return [
    jax.tree.map(lambda leaf: scale * random.normal(size=leaf.shape), PARAMS)
    for _ in range(steps)
  ]


def _run(gradients, losses=None, **options):
  """Returns the initial parameters and those after each step."""
  options = {"num_steps": 10, "learning_rate": 0.1, **options}
  optimizer = make_optimizer(**options)

  @jax.jit
  def update(params, state, gradient, loss):
    updates, state = optimizer.update(gradient, state, params, value=loss)
    return optax.apply_updates(params, updates), state

  params = [_float32(PARAMS)]
  state = optimizer.init(params[0])
  losses = losses or [1.0] * len(gradients)
  for gradient, loss in zip(gradients, losses, strict=True):
    latest, state = update(params[-1], state, _float32(gradient), loss)
    params.append(latest)
  return params


def _adam(part, gradients, rates, eps=1e-8, weight_decay=0.0):
  """Runs algorithm 1 of Kingma and Ba 2015, with PyTorch's L2 gradient."""
  w = np.array(part)
  m, v = np.zeros_like(w), np.zeros_like(w)
  b1, b2 = 0.9, 0.999
  for t, (gradient, rate) in enumerate(
    zip(gradients, rates, strict=True), start=1
  ):
    g = gradient + weight_decay * w
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    w -= rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
  return w


def _assert_part(params, name, expected):
  [actual] = params[name].values()
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def _part(trees, name):
  return [next(iter(tree[name].values())) for tree in trees]


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_with_coupled_weight_decay(weight_decay):
  gradients = _gradients(3)
  params = _run(gradients, weight_decay=weight_decay, eps=1e-3)
  for name in PARAMS:
    expected = _adam(
      _part([PARAMS], name)[0],
      _part(gradients, name),
      [0.1] * 3,
      eps=1e-3,
      weight_decay=weight_decay,
    )
    _assert_part(params[-1], name, expected)


def test_moments_equal_those_of_optax():
  ours, optaxs = (
    scale_by_adam(0.8, 0.9, 1e-3),
    optax.scale_by_adam(0.8, 0.9, 1e-3),
  )
  state, expected_state = ours.init(PARAMS), optaxs.init(PARAMS)
  for gradient in map(_float32, _gradients(3)):
    updates, state = ours.update(gradient, state)
    expected, expected_state = optaxs.update(gradient, expected_state)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    assert state._asdict().keys() == expected_state._asdict().keys()
    jax.tree.map(np.testing.assert_array_equal, [*state], [*expected_state])


def test_clipping_bounds_the_norm_of_the_whole_gradient():
  # With a large eps, Adam is linear in its gradient and shows the norm.
  options = {"eps": 1e3, "learning_rate": 1e3}
  gradients = _gradients(1)
  norm = np.sqrt(
    sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradients))
  )
  free, wide, tight = (
    _run(gradients, clip_norm=clip, **options)
    for clip in (0.0, 2 * norm, norm / 4)
  )
  for name in PARAMS:
    [start, end], [_, clipped] = _part(free, name), _part(tight, name)
    _assert_part(wide[-1], name, end)
    np.testing.assert_allclose(clipped - start, (end - start) / 4, rtol=2e-3)


def test_groups_have_their_own_settings():
  group = {"learning_rate": 0.02, "eps": 0.1, "weight_decay": 0.5}
  gradients = _gradients(3)
  params = _run(gradients, weight_decay=0.1, groups={"condition_net": group})[
    -1
  ]
  start = {name: _part([PARAMS], name)[0] for name in PARAMS}
  expected = _adam(
    start["condition_net"],
    _part(gradients, "condition_net"),
    [0.02] * 3,
    eps=0.1,
    weight_decay=0.5,
  )
  _assert_part(params, "condition_net", expected)
  expected = _adam(
    start["bijection"],
    _part(gradients, "bijection"),
    [0.1] * 3,
    weight_decay=0.1,
  )
  _assert_part(params, "bijection", expected)


@pytest.mark.parametrize(
  "frozen_steps, steps_that_move", [(2, [3, 4]), (-1, [])]
)
def test_frozen_group_does_not_change(frozen_steps, steps_that_move):
  group = {"frozen_steps": frozen_steps, "weight_decay": 0.5}
  params = _run(_gradients(4), groups={"condition_net": group})
  parts = _part(params, "condition_net")
  changes = [
    step
    for step in range(1, 5)
    if np.any(np.asarray(parts[step]) != np.asarray(parts[step - 1]))
  ]
  assert changes == steps_that_move
  others = _part(params, "bijection")
  assert all(np.all(a != b) for a, b in itertools.pairwise(others))


@pytest.mark.parametrize(
  "paused, steps_that_move",
  [((0, 2), [3, 4]), ((1, 3), [1, 4]), ((1, -1), [1])],
)
def test_paused_group_skips_steps(paused, steps_that_move):
  group = {"paused": paused, "weight_decay": 0.5}
  gradients = _gradients(4)
  params = _run(gradients, groups={"condition_net": group})
  parts = _part(params, "condition_net")
  changes = [
    step
    for step in range(1, 5)
    if np.any(np.asarray(parts[step]) != np.asarray(parts[step - 1]))
  ]
  assert changes == steps_that_move
  # Equal to Adam without the gradients of the pause.
  kept = [_part(gradients, "condition_net")[step - 1] for step in changes]
  start = _part([PARAMS], "condition_net")[0]
  expected = _adam(start, kept, [0.1] * len(kept), weight_decay=0.5)
  _assert_part(params[-1], "condition_net", expected)


def test_longest_matching_path_counts():
  params = {
    "net": {"a": {"w": 1.0}, "ab": {"w": 1.0}, "b": {"w": 1.0}},
    "network": {"w": 1.0},
  }
  groups = {"net": {"frozen_steps": -1}, "net/a": {"learning_rate": 0.2}}
  optimizer = make_optimizer(num_steps=1, learning_rate=0.1, groups=groups)
  params = _float32(params)
  updates, _ = optimizer.update(params, optimizer.init(params), params)
  sizes = jax.tree.map(lambda update: round(-float(update), 4), updates)
  assert sizes == {
    "net": {"a": {"w": 0.2}, "ab": {"w": 0.0}, "b": {"w": 0.0}},
    "network": {"w": 0.1},
  }


def test_schedule_sets_the_step_size():
  gradients = _gradients(3)
  options = {"every": 1, "factor": 0.5}
  params = _run(gradients, schedule="step", schedule_options=options)[-1]
  expected = _adam(
    PARAMS["bijection"]["bias"],
    _part(gradients, "bijection"),
    [0.1, 0.05, 0.025],
  )
  _assert_part(params, "bijection", expected)


def test_plateau_reduces_the_rate():
  plateau = {"factor": 0.5, "patience": 2, "accumulation_size": 1}

  def step_sizes(losses):
    params = _run(_gradients(1) * len(losses), losses, plateau=plateau)
    parts = _part(params, "bijection")
    return np.linalg.norm(np.diff(np.stack(parts), axis=0), axis=1)

  flat = step_sizes([6.0, *[5.0] * 5])
  ratios = flat / step_sizes([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
  # The best loss is that of the second step; patience is two more steps.
  np.testing.assert_allclose(ratios, [1, 1, 1, 0.5, 0.5, 0.25], rtol=1e-4)


@pytest.mark.parametrize(
  "options, expected",
  [
    ({"schedule": "constant"}, {0: 2.0, 5: 2.0, 100: 2.0}),
    (
      {"schedule": "constant", "warmup_steps": 4},
      {0: 0.0, 1: 0.5, 3: 1.5, 4: 2.0, 50: 2.0},
    ),
    ({"schedule": "cosine"}, {0: 2.0, 25: 2 * 0.853553, 50: 1.0, 100: 0.0}),
    (
      {"schedule": "cosine", "end_fraction": 0.1, "warmup_steps": 20},
      {0: 0.0, 10: 1.0, 20: 2.0, 60: 1.1, 100: 0.2},
    ),
    (
      {"schedule": "step", "every": 10, "factor": 0.1},
      {0: 2.0, 9: 2.0, 10: 0.2, 19: 0.2, 20: 0.02},
    ),
    (
      {"schedule": "multistep", "boundaries": (10, 35), "factor": 0.1},
      {0: 2.0, 9: 2.0, 10: 0.2, 34: 0.2, 35: 0.02, 99: 0.02},
    ),
    (
      {
        "schedule": "multistep",
        "boundaries": (10,),
        "factor": 0.5,
        "warmup_steps": 4,
        "warmup_fractions": (0.1, 0.5),
      },
      {0: 0.2, 2: 0.6, 3: 0.8, 4: 2.0, 13: 2.0, 14: 1.0},
    ),
  ],
)
def test_schedules_at_known_steps(options, expected):
  rate = make_schedule(2.0, 100, **options)
  actual = {step: float(rate(step)) for step in expected}
  assert actual == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_published_schedules_for_mnist():
  def rate(variant):
    config = mnist.get_config(variant)
    options = config.optimizer.to_dict()
    return config.train.num_steps, make_schedule(
      options["learning_rate"],
      config.train.num_steps,
      options["schedule"],
      **options["schedule_options"],
    )

  # 60 epochs of 230 steps; a tenth of the rate after 20 and after 40.
  steps, minimal = rate("minimal")
  assert steps == 13_800
  at = {0: 5e-4, 4_599: 5e-4, 4_600: 5e-5, 9_199: 5e-5, 9_200: 5e-6}
  assert {k: float(minimal(k)) for k in at} == pytest.approx(at, rel=1e-4)
  # One epoch of 117 steps at a fiftieth of the rate, then 1,440 epochs that
  # fall to a hundredth.
  steps, paper = rate("paper")
  assert steps == 117 * 1_441
  half = 117 * 721
  at = {0: 2e-6, 116: 2e-6, 117: 1e-4, 233: 1e-4, half: 1e-5, steps: 1e-6}
  assert {k: float(paper(k)) for k in at} == pytest.approx(at, rel=1e-3)
  assert 0.99e-4 < paper(234) < 0.9999e-4


def test_feature_networks_classifier_does_not_decay():
  """Checks the ImageNet cINN; no gradient ever reaches that classifier."""
  options = dict(colorize.get_config("imagenet").optimizer)
  optimizer = make_optimizer(num_steps=10, **options)
  names = ("condition_net/feature_net", "condition_net/classifier", "bijection")
  params = traverse_util.unflatten_dict(
    {name: {"kernel": jnp.ones(3)} for name in names}, sep="/"
  )
  updates, _ = optimizer.update(
    jax.tree.map(jnp.zeros_like, params),
    optimizer.init(params),
    params,
    value=1.0,
  )
  flat = traverse_util.flatten_dict(updates, sep="/")
  assert {name: bool(np.any(flat[f"{name}/kernel"])) for name in names} == {
    "condition_net/feature_net": False,
    "condition_net/classifier": False,
    "bijection": True,
  }


def test_unknown_names_raise():
  with pytest.raises(ValueError, match="'linear': expected constant, cosine"):
    make_schedule(1.0, 10, "linear")
  for group in ("head", "bijection/bia"):
    with pytest.raises(ValueError, match=rf"\['{group}'\].*\['bijection', 'co"):
      _run([], groups={group: {"eps": 1.0}})
