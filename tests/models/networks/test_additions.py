"""Features and hints that are added to a trained condition network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.additions import Additions, resize, resize_hints
from tests.models.test_settings import SMALL
from tests.support import slow
from tests.support.drawing import draw_like, draw_variables, normal

MAPS = {
  "level_0": normal(0, (2, 8, 8, 3), np.float32),
  "level_1": normal(1, (2, 4, 4, 5), np.float32),
  "vector": normal(2, (2, 6), np.float32),
}
COND = {
  "lightness": normal(3, (2, 8, 8, 1), np.float32),
  "hints": normal(4, (2, 16, 16, 3), np.float32),
  "features": {4: normal(5, (2, 4, 4, 7), np.float32)},
}


def test_additions_start_at_zero_and_reach_every_map():
  net = Additions()
  initial = jax.jit(net.init)(jax.random.key(0, impl="rbg"), COND, MAPS)
  start = net.apply(initial, COND, MAPS)
  for name, own in MAPS.items():
    np.testing.assert_array_equal(start[name], own)
  params = draw_like(initial["params"], 7, np.float32)
  apply = jax.jit(lambda cond: net.apply({"params": params}, cond, MAPS))
  after = apply(COND)
  other = apply({**COND, "features": {4: COND["features"][4] ** 2}})
  for name, own in MAPS.items():
    assert after[name].shape == own.shape
    assert np.abs(after[name] - own).min(axis=-1).max() > 1e-3
    assert np.abs(after[name] - other[name]).max() > 1e-3
  # Other colours in the same cells.
  doubled = COND["hints"] * np.asarray([[[[2, 2, 1]]]], np.float32)
  hints = apply({**COND, "hints": doubled})
  assert np.abs(hints["level_0"] - after["level_0"]).max() > 1e-3
  np.testing.assert_array_equal(hints["level_1"], after["level_1"])


def test_resizing():
  x = jnp.asarray(normal(0, (2, 8, 8, 3), np.float32))
  means = x.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
  np.testing.assert_allclose(resize(x, 4), means, rtol=1e-5)
  assert resize(x, 12).shape == (2, 12, 12, 3)


FAMILIES = ("haar_colorization", "imagenet_colorization", "image_cinn")


@pytest.mark.parametrize(
  "name",
  slow.all_but(
    ("haar_colorization", "conditional_glow"), (*FAMILIES, "conditional_glow")
  ),
)
def test_families_take_features(name):
  small = SMALL[name]
  plain = build_model(name, **small.settings)
  model = build_model(name, **small.settings, features="efficientnet_lite0")
  x = jax.ShapeDtypeStruct((2, *small.x), jnp.float32)
  cond = jax.ShapeDtypeStruct((2, *small.cond), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  before, after = (
    jax.eval_shape(each.init, key, x, cond) for each in (plain, model)
  )
  assert set(after["params"]) == {*before["params"], "additions"}
  assert "additions" in after["constants"]
  # Where there is none, an old checkpoint fits.
  for part in before["params"]:
    assert before["params"][part] == after["params"][part]

  def round_trip(variables, x, cond):
    z, _ = model.apply(variables, x, cond)
    return model.apply(variables, z, cond, method="inverse")[0]

  assert jax.eval_shape(round_trip, after, x, cond).shape == x.shape


def test_the_laptop_network_takes_hints_and_learned_priors():
  small = SMALL["haar_colorization"]
  model = build_model(
    "haar_colorization",
    **small.settings,
    features="given",
    hints=True,
    learned_priors=True,
  )
  x, cond = normal(0, (2, 8, 8, 2), np.float32), COND
  variables = draw_variables(model, 7, x, cond, 0.1)
  z, log_det = jax.jit(model.apply)(variables, x, cond)
  back, minus = jax.jit(lambda v, z: model.apply(v, z, cond, method="inverse"))(
    variables, z
  )
  np.testing.assert_allclose(back, x, atol=1e-4)
  np.testing.assert_allclose(minus, -log_det, atol=1e-3)
  params = variables["params"]["bijection"]
  assert {"splits_0", "splits_1"} <= set(params)


def test_coarser_hints_keep_their_colors():
  hints = np.zeros((1, 8, 8, 3), np.float32)
  hints[0, 1, 1] = (2, -3, 1)
  hints[0, 1, 2] = (4, 1, 1)
  coarse = np.asarray(resize_hints(jnp.asarray(hints), 2))
  np.testing.assert_allclose(coarse[0, 0, 0], (3, -1, 1), rtol=1e-5)
  assert not coarse[0, 1:].any()
  assert not coarse[0, 0, 1].any()
  same = resize_hints(jnp.asarray(hints), 8)
  np.testing.assert_array_equal(same, hints)
