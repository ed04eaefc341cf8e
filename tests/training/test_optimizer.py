"""The optimizer against the published formulas."""

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
from configs import colorize
from tests.support.optimizing import (
  PARAMS,
  adam,
  assert_part,
  draw_gradients,
  parts_of,
  run,
  to_float32,
)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_with_coupled_weight_decay(weight_decay):
  gradients = draw_gradients(3)
  params = run(gradients, weight_decay=weight_decay, eps=1e-3)
  for name in PARAMS:
    expected = adam(
      parts_of([PARAMS], name)[0],
      parts_of(gradients, name),
      [0.1] * 3,
      eps=1e-3,
      weight_decay=weight_decay,
    )
    assert_part(params[-1], name, expected)


def test_weights_without_a_gradient_do_not_decay():
  gradients = {"w": jnp.array([0.0, -0.0, 0.7])}
  start = {"w": jnp.full(3, 0.5)}
  optimizer = make_optimizer(
    num_steps=9, learning_rate=0.1, weight_decay=0.2, eps=1e-3
  )
  params, state = start, optimizer.init(start)
  for _ in range(3):
    updates, state = optimizer.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
  expected = adam(0.5, [0.7] * 3, [0.1] * 3, eps=1e-3, weight_decay=0.2)
  np.testing.assert_allclose(params["w"], [0.5, 0.5, expected], rtol=1e-4)


def test_moments_equal_those_of_optax():
  ours, optaxs = (
    scale_by_adam(0.8, 0.9, 1e-3),
    optax.scale_by_adam(0.8, 0.9, 1e-3),
  )
  state, expected_state = ours.init(PARAMS), optaxs.init(PARAMS)
  for gradient in map(to_float32, draw_gradients(3)):
    updates, state = ours.update(gradient, state)
    expected, expected_state = optaxs.update(gradient, expected_state)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    assert state._asdict().keys() == expected_state._asdict().keys()
    jax.tree.map(np.testing.assert_array_equal, [*state], [*expected_state])


def test_clipping_bounds_the_norm_of_the_whole_gradient():
  # With a large eps, Adam is linear in its gradient and shows the norm.
  options = {"eps": 1e3, "learning_rate": 1e3}
  gradients = draw_gradients(1)
  norm = np.sqrt(
    sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradients))
  )
  free, wide, tight = (
    run(gradients, clip_norm=clip, **options)
    for clip in (0.0, 2 * norm, norm / 4)
  )
  for name in PARAMS:
    [start, end], [_, clipped] = parts_of(free, name), parts_of(tight, name)
    assert_part(wide[-1], name, end)
    np.testing.assert_allclose(clipped - start, (end - start) / 4, rtol=2e-3)


def test_values_are_clipped_before_the_norm_is_looked_at():
  options = {"eps": 1e3, "learning_rate": 1e3}
  gradients = draw_gradients(1)
  bound = 0.5
  clipped = [jax.tree.map(lambda g: np.clip(g, -bound, bound), gradients[0])]
  leaves = jax.tree.leaves(clipped)
  norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves))
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > bound
  for clip_norm in (0.0, norm / 4):
    ours = run(gradients, clip_value=bound, clip_norm=clip_norm, **options)
    expected = run(clipped, clip_norm=clip_norm, **options)
    for name in PARAMS:
      assert_part(ours[-1], name, parts_of(expected, name)[-1])


def test_groups_have_their_own_settings():
  group = {"learning_rate": 0.02, "eps": 0.1, "weight_decay": 0.5}
  gradients = draw_gradients(3)
  params = run(gradients, weight_decay=0.1, groups={"condition_net": group})[-1]
  start = {name: parts_of([PARAMS], name)[0] for name in PARAMS}
  expected = adam(
    start["condition_net"],
    parts_of(gradients, "condition_net"),
    [0.02] * 3,
    eps=0.1,
    weight_decay=0.5,
  )
  assert_part(params, "condition_net", expected)
  expected = adam(
    start["bijection"],
    parts_of(gradients, "bijection"),
    [0.1] * 3,
    weight_decay=0.1,
  )
  assert_part(params, "bijection", expected)


@pytest.mark.parametrize(
  "frozen_steps, steps_that_move", [(2, [3, 4]), (-1, [])]
)
def test_frozen_group_does_not_change(frozen_steps, steps_that_move):
  group = {"frozen_steps": frozen_steps, "weight_decay": 0.5}
  params = run(draw_gradients(4), groups={"condition_net": group})
  parts = parts_of(params, "condition_net")
  changes = [
    step
    for step in range(1, 5)
    if np.any(np.asarray(parts[step]) != np.asarray(parts[step - 1]))
  ]
  assert changes == steps_that_move
  others = parts_of(params, "bijection")
  assert all(np.all(a != b) for a, b in itertools.pairwise(others))


@pytest.mark.parametrize(
  "paused, steps_that_move",
  [((0, 2), [3, 4]), ((1, 3), [1, 4]), ((1, -1), [1])],
)
def test_paused_group_skips_steps(paused, steps_that_move):
  group = {"paused": paused, "weight_decay": 0.5}
  gradients = draw_gradients(4)
  params = run(gradients, groups={"condition_net": group})
  parts = parts_of(params, "condition_net")
  changes = [
    step
    for step in range(1, 5)
    if np.any(np.asarray(parts[step]) != np.asarray(parts[step - 1]))
  ]
  assert changes == steps_that_move
  # Equal to Adam without the gradients of the pause.
  kept = [parts_of(gradients, "condition_net")[step - 1] for step in changes]
  start = parts_of([PARAMS], "condition_net")[0]
  expected = adam(start, kept, [0.1] * len(kept), weight_decay=0.5)
  assert_part(params[-1], "condition_net", expected)


def test_longest_matching_path_counts():
  params = {
    "net": {"a": {"w": 1.0}, "ab": {"w": 1.0}, "b": {"w": 1.0}},
    "network": {"w": 1.0},
  }
  groups = {"net": {"frozen_steps": -1}, "net/a": {"learning_rate": 0.2}}
  optimizer = make_optimizer(num_steps=1, learning_rate=0.1, groups=groups)
  params = to_float32(params)
  updates, _ = optimizer.update(params, optimizer.init(params), params)
  sizes = jax.tree.map(lambda update: round(-float(update), 4), updates)
  assert sizes == {
    "net": {"a": {"w": 0.2}, "ab": {"w": 0.0}, "b": {"w": 0.0}},
    "network": {"w": 0.1},
  }


def test_feature_networks_classifier_does_not_decay():
  """Checks the ImageNet cINN; no gradient ever reaches that classifier."""
  options = dict(colorize.get_config("imagenet").optimizer)
  optimizer = make_optimizer(num_steps=10, **options)
  names = ("condition_net/feature_net", "condition_net/classifier", "bijection")
  params = traverse_util.unflatten_dict(
    {name: {"kernel": jnp.ones(3)} for name in names}, sep="/"
  )
  gradients = jax.tree.map(jnp.zeros_like, params)
  # The others decay, because they have one.
  gradients["bijection"]["kernel"] += 1e-20
  updates, _ = optimizer.update(
    gradients, optimizer.init(params), params, value=1.0
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
      run([], groups={group: {"eps": 1.0}})
