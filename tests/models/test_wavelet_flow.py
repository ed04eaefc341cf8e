"""The wavelet flow: its start, levels, conditions and features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import load, save
from cinn_jax.flow import make_flow
from cinn_jax.models.networks import features, level_condition
from cinn_jax.models.networks.level_condition import LevelCondition
from cinn_jax.models.pyramid import BaseShift
from cinn_jax.models.wavelet_flow import wavelet_flow
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL

X = normal(0, (2, 8, 8, 2), np.float32)
LIGHTNESS = normal(1, (2, 16, 16, 1), np.float32)
COND = {
  "lightness": LIGHTNESS,
  "hints": normal(2, (2, 8, 8, 3), np.float32),
  "features": {4: normal(3, (2, 4, 4, 5), np.float32)},
}


def _flow(cond=COND, **options):
  model = wavelet_flow(**{**SMALL, **options})
  shapes = jax.tree.map(lambda leaf: leaf.shape[1:], cond)
  return make_flow(model, (8, 8, 2), shapes)


def test_hints_and_features_start_without_effect():
  net = LevelCondition(4, width=4, channels=3, blocks=1, attention_layers=1)
  given = {**COND, "coarse": X[:, :4, :4]}
  given["picture"] = given.pop("lightness")
  params = jax.jit(net.init)(jax.random.key(0, impl="rbg"), given)["params"]
  less = {name: given[name] for name in ("coarse", "picture")}

  @jax.jit
  def run(params):
    def total(params):
      return jnp.sum(net.apply({"params": params}, given)["maps"] ** 2)

    maps = net.apply({"params": params}, given)["maps"]
    plain = net.apply({"params": params}, less)["maps"]
    return maps, plain, jax.grad(total)(params)

  maps, plain, gradient = run(params)
  assert maps.shape == (2, 4, 4, 3)
  np.testing.assert_allclose(maps, plain, atol=1e-6)
  for name in ("hints", "features_4"):
    assert np.abs(gradient[name]["kernel"]).max() > 0


def test_hints_reach_their_places_in_a_cell():
  """Next to a coarser level, hints are differences from it, place by place."""
  coarse = normal(0, (1, 2, 2, 2), np.float32)
  hints = np.zeros((1, 4, 4, 3), np.float32)
  hints[0, 1, 2] = (0.5, -1.0, 1.0)
  maps = np.array(level_condition.hints_in_cells(hints, coarse, 2))
  assert maps.shape == (1, 2, 2, 12)
  # Row 1 and column 2 are the second row and the first column of cell (0, 1).
  difference = np.array([0.5, -1.0]) - coarse[0, 0, 1]
  np.testing.assert_allclose(maps[0, 0, 1, 6:9], [*difference, 1], atol=1e-6)
  maps[0, 0, 1, 6:9] = 0
  np.testing.assert_array_equal(maps, 0)
  finer = np.asarray(level_condition.hints_in_cells(hints, None, 8))
  assert finer.shape == (1, 8, 8, 3)


def test_samples_by_level_and_temperature():
  flow = _flow()
  # A mild flow: with x in the hundreds, rounding it would move its density.
  variables = draw_variables(flow.module, 7, X, COND, 0.1)
  draw = {
    temperatures: flow.sample(
      variables, jax.random.key(0), COND, 3, jnp.array(temperatures)
    )
    for temperatures in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0))
  }
  x, log_prob = draw[1.0, 1.0]
  assert x.shape == (2, 3, 8, 8, 2)
  scored = flow.log_prob(variables, x[:, 1], COND).total
  np.testing.assert_allclose(log_prob[:, 1], scored, rtol=1e-4)

  def base(x):
    return np.asarray(x).reshape(2, 3, 4, 2, 4, 2, 2).mean((3, 5))

  same = base(draw[0.0, 1.0][0])
  np.testing.assert_allclose(same, base(x), atol=1e-4)
  still = base(draw[1.0, 0.0][0])
  np.testing.assert_allclose(still[:, 0], still[:, 1], atol=1e-5)


@pytest.mark.slow
def test_a_level_alone_leaves_zeros_for_the_others():
  flow = _flow(level=4)
  variables = draw_variables(flow.module, 7, X, COND)
  assert set(variables["params"]) == {"levels_4"}
  x, _ = flow.sample(variables, jax.random.key(0), COND)
  blocks = np.asarray(x).reshape(2, 4, 2, 4, 2, 2)
  assert np.ptp(blocks, axis=(2, 4)).max() < 1e-5
  assert np.std(blocks) > 0.1
  flow = _flow(level=8)
  x, _ = flow.sample(
    draw_variables(flow.module, 7, X, COND), jax.random.key(0), COND
  )
  means = np.asarray(x).reshape(2, 4, 2, 4, 2, 2).mean((2, 4))
  np.testing.assert_allclose(means, 0, atol=1e-5)


@pytest.mark.slow
def test_features_of_the_network_equal_cached_ones():
  lightness = normal(1, (1, 64, 64, 1), np.float32)
  x, shapes = X[:1], {"lightness": (64, 64, 1), "hints": (8, 8, 3)}
  with_network = make_flow(
    wavelet_flow(**SMALL, features="efficientnet_lite0"), (8, 8, 2), shapes
  )
  cond = {"lightness": lightness, "hints": COND["hints"][:1]}
  variables = draw_variables(with_network.module, 7, x, cond, 0.1)
  assert set(variables["constants"]) == {"features", "levels_4", "levels_8"}
  given = jax.jit(features.LightnessFeatures().apply)(
    {"constants": variables["constants"]["features"]}, lightness
  )
  cached = make_flow(wavelet_flow(**SMALL), (8, 8, 2))
  one = with_network.log_prob(variables, x, cond).total
  two = cached.log_prob(variables, x, {**cond, "features": given}).total
  np.testing.assert_allclose(one, two, rtol=1e-5)


@pytest.mark.slow
def test_a_file_holds_the_flow(tmp_path):
  flow = _flow()
  variables = draw_variables(flow.module, 7, X, COND)
  save(tmp_path / "a.safetensors", flow, variables)
  again, read = load(tmp_path / "a.safetensors")
  np.testing.assert_allclose(
    again.log_prob(read, X, COND).total,
    flow.log_prob(variables, X, COND).total,
    rtol=1e-6,
  )


@pytest.mark.parametrize(
  "options, message",
  [
    ({"size": 24}, "base_size times a power of 2"),
    ({"depths": (2, 2)}, r"1 levels? of details, but depths has 2"),
    ({"level": 2}, "no level of 2 cells; there are 8, 4, or 0"),
    ({"base": "spline"}, "autoregressive or coupling, got 'spline'"),
    ({"base_depth": 3}, "both directions, got 3"),
  ],
)
def test_settings_that_do_not_fit_raise(options, message):
  with pytest.raises(ValueError, match=message):
    wavelet_flow(**{**SMALL, **options})


def test_wrong_shapes_raise():
  model = wavelet_flow(**SMALL)
  with pytest.raises(ValueError, match=r"x \[B, 8, 8, 2\], got shape"):
    model.init(jax.random.key(0), X[:, :4], LIGHTNESS)
  with pytest.raises(ValueError, match="2 levels of latents, of 8, 4 cells"):
    variables = draw_variables(model, 7, X, LIGHTNESS)
    model.apply(variables, (X,), LIGHTNESS, method="inverse")


def test_a_small_picture_moves_the_base():
  shift = BaseShift(bj.Standardize(0.25, 2.0), scale=0.5, mean=2.0)
  small = normal(4, (2, 4, 4, 2), np.float32)
  x, cond = X[:, :4, :4], {"picture": small}
  params = shift.init(jax.random.key(0), x, cond)
  z, log_det = shift.apply(params, x, cond)
  moved = x - 0.5 * (small + 2)
  np.testing.assert_allclose(z, (moved - 0.25) / 2, atol=1e-6)
  # It is the flow's own, of 32 numbers.
  np.testing.assert_allclose(log_det, -32 * np.log(2), rtol=1e-6)
  back, minus_log_det = shift.apply(params, z, cond, method="inverse")
  np.testing.assert_allclose(back, x, atol=1e-6)
  np.testing.assert_array_equal(minus_log_det, -log_det)


@pytest.mark.slow
def test_pictures_are_enlarged_from_the_base_up():
  options = {"channels": 3, "base": "coupling", "base_given": True}
  model = wavelet_flow(**{**SMALL, **options}, mean=0.5, std=0.25)
  flow = make_flow(model, (8, 8, 3), (4, 4, 3))
  x = normal(4, (2, 8, 8, 3), np.float32) / 4 + 0.5
  # Bicubic filters are no means of blocks: something is left of the base.
  small = x.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
  small = small + 0.01 * normal(5, small.shape, np.float32)
  key = jax.random.key(0, impl="rbg")  # compiles fast
  start = flow.init(key, x, small)
  # At the start, the base of a sample is the small picture.
  kernel = start["params"]["levels_4"]["picture"]["kernel"]
  np.testing.assert_array_equal(kernel[1, 1], np.eye(3))
  drawn, _ = flow.sample(start, jax.random.key(0), small, 1, 0.0)
  means = np.asarray(drawn)[:, 0].reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
  np.testing.assert_allclose(means, small, atol=0.05)
  variables = draw_variables(flow.module, 7, x, small, 0.1)
  z, _ = flow.forward(variables, x, small)
  back, _ = flow.inverse(variables, z, small)
  np.testing.assert_allclose(back, x, atol=1e-5)


def test_a_picture_of_any_size_is_a_condition():
  model = wavelet_flow(**SMALL)
  for side in (3, 10, 23):
    picture = jax.ShapeDtypeStruct((2, side, side, 1), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), X, picture)
    z, _ = jax.eval_shape(model.apply, variables, X, picture)
    assert [leaf.shape for leaf in jax.tree.leaves(z)][-1][0] == len(X)


def test_features_are_of_what_the_condition_is():
  options = {**SMALL, "features": features.EFFICIENTNET}
  given = wavelet_flow(**options, base_given=True)
  assert isinstance(given.features, features.PictureFeatures)
  assert isinstance(
    wavelet_flow(**options).features, features.LightnessFeatures
  )


@pytest.mark.parametrize(
  "cond, message",
  [
    ({"picture": LIGHTNESS}, "or a dict with \"lightness\".*got 'picture'"),
    (normal(1, (2, 10), np.float32), r"images \[B, H, W, C\], got .*10\)"),
  ],
)
def test_other_conditions_say_what_to_pass(cond, message):
  flow = make_flow(wavelet_flow(**SMALL), (8, 8, 2))
  with pytest.raises(ValueError, match=message):
    flow.init(jax.random.key(0, impl="rbg"), X, cond)
