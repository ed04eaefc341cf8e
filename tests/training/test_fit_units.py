"""`fit` on data in any units equals `fit` on standardized data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.models.networks.summary_nets import SetNet
from cinn_jax.models.vector_flow import vector_flow
from cinn_jax.models.wavelet_flow import wavelet_flow
from cinn_jax.training import own_units
from tests.support import small_models
from tests.support.pyramids import SMALL

FLOW = cinn_jax.make_flow(
  vector_flow(2, blocks=3, hidden=(32,), coupling="affine", linear_start=False),
  (2,),
)
OPTIONS = {"num_epochs": 8, "batch_size": 100, "progress": False}


def _key(seed):
  return jax.random.key(seed)


def _draw(seed, rows):
  random = np.random.default_rng(seed)
  theta = random.normal(size=(rows, 2))
  return theta, theta + 0.5 * random.normal(size=(rows, 2))


def _log_prob(flow, theta, measured, **options):
  """Returns the mean of fresh data, after a fit, and the fit's best."""
  (train, fresh), (cond, fresh_cond) = theta, measured
  result = cinn_jax.fit(flow, _key(0), train, cond, **{**OPTIONS, **options})
  total = flow.log_prob(result.variables, fresh, fresh_cond).total
  return np.mean(total), result.history.validation_log_prob.max()


@pytest.fixture(scope="module")
def standard():
  theta, measured = zip(_draw(0, 2000), _draw(1, 2000), strict=True)
  return _log_prob(FLOW, theta, measured, standardize=False)


@pytest.mark.parametrize(
  "mean, std, cond_mean, cond_std",
  [
    (1e4, 1.0, 1e4, 1.0),
    (3e8, 1e7, 0.0, 1e-3),
    (0.0, 1e-30, 0.0, 1e30),
    (-1e34, 1e30, 1e-27, 1e-30),
    (5.0, (1e-3, 1e3), (1e3, -1e-2), (0.1, 1e-6)),
  ],
)
@pytest.mark.filterwarnings("error")
def test_units_do_not_matter(standard, mean, std, cond_mean, cond_std):
  mean, std, cond_mean, cond_std = map(
    np.asarray, (mean, std, cond_mean, cond_std)
  )

  def convert(theta, measured):
    return (
      (mean + std * theta).astype(np.float32),
      (cond_mean + cond_std * measured).astype(np.float32),
    )

  pairs = convert(*_draw(0, 2000)), convert(*_draw(1, 2000))
  fresh, best = _log_prob(FLOW, *zip(*pairs, strict=True))
  shift = np.sum(np.log(np.broadcast_to(std, 2)))
  assert abs(fresh + shift - standard[0]) < 0.05
  assert abs(best + shift - standard[1]) < 0.05


def test_samples_are_in_the_data_units():
  theta, measured = _draw(0, 2000)
  theta = 3e8 + 1e7 * theta
  variables, _ = cinn_jax.fit(FLOW, _key(0), theta, measured, **OPTIONS)
  samples, log_prob = FLOW.sample(
    variables, _key(1), measured[:1], num_samples=2000
  )
  exact = 3e8 + 1e7 * measured[0] / 1.25
  np.testing.assert_allclose(np.mean(samples[0], 0), exact, atol=1.5e6)
  cond = np.repeat(measured[:1], 2000, axis=0)
  total = FLOW.log_prob(variables, samples[0], cond).total
  np.testing.assert_allclose(total, log_prob[0], rtol=1e-3, atol=1e-2)
  z, log_det = FLOW.forward(variables, samples[0], cond)
  back, minus_log_det = FLOW.inverse(variables, z, cond)
  np.testing.assert_allclose(back, samples[0], rtol=1e-4)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-4)


@pytest.mark.slow
def test_simulators_are_standardized():
  def simulate(rng, batch_size):
    key_theta, key_noise = jax.random.split(rng)
    theta = jax.random.normal(key_theta, (batch_size, 2))
    noise = jax.random.normal(key_noise, (batch_size, 2))
    return 1e6 + 1e3 * theta, 1e-3 * (theta + 0.5 * noise)

  history = cinn_jax.fit(
    FLOW, _key(0), simulate, num_epochs=4, progress=False
  ).history
  exact = -np.log(2 * np.pi * np.e * 0.2) - 2 * np.log(1e3)
  assert abs(history.validation_log_prob.max() - exact) < 0.15


def test_ratio_beyond_float32_names_the_column():
  theta, measured = _draw(0, 300)
  theta[:, 1] += 1e6
  with pytest.warns(RuntimeWarning, match=r"x\[:, 1\] has mean 1e\+06 and"):
    cinn_jax.fit(FLOW, _key(0), theta, measured, **OPTIONS)


def test_constant_columns_are_named():
  theta, measured = _draw(0, 100)
  wrong = np.where([True, False], theta, 3.0)
  with pytest.raises(ValueError, match=r"^x\[:, 1\] is constant"):
    cinn_jax.fit(FLOW, _key(0), wrong, measured, **OPTIONS)
  wrong = np.where([False, True], measured, 3.0)
  with pytest.raises(ValueError, match=r"^cond\['a'\]\[:, 0\] is constant"):
    cinn_jax.fit(FLOW, _key(0), theta, {"a": wrong}, **OPTIONS)
  picture = np.random.default_rng(0).uniform(size=(9, 4, 4, 3))
  picture[..., 2] = 1.0
  flow = cinn_jax.make_flow(bj.Haar(), (4, 4, 3))
  with pytest.raises(ValueError, match=r"^x\[\.\.\., 2\] is constant"):
    cinn_jax.fit(flow, _key(0), picture, **OPTIONS)
  cinn_jax.fit(FLOW, _key(0), theta, wrong, standardize=False, **OPTIONS)


@pytest.mark.slow
def test_masked_sets_marks_and_integers():
  random = np.random.default_rng(0)
  mask = random.uniform(size=(400, 5)) < 0.6
  mask[:, 0] = True
  values = 1e3 + 7 * random.normal(size=(400, 5, 2))
  cond = {"mask": mask, "values": np.where(mask[..., None], values, 1e9)}
  flow = cinn_jax.make_flow(
    vector_flow(2, blocks=1, hidden=(8,), condition_net=SetNet()), (2,)
  )
  x = random.normal(size=(400, 2))
  variables, _ = cinn_jax.fit(flow, _key(0), x, cond, **OPTIONS)
  (entry,) = variables["constants"]["standardization"]["cond"].values()
  np.testing.assert_allclose(entry["mean"], [1e3, 1e3], atol=1)
  np.testing.assert_allclose(entry["std"], [7, 7], rtol=0.05)
  other = {**cond, "values": np.where(mask[..., None], values, -1e9)}
  np.testing.assert_allclose(
    flow.log_prob(variables, x, cond).total,
    flow.log_prob(variables, x, other).total,
    rtol=1e-5,
  )
  marks = np.eye(3, dtype=np.float32)[random.integers(3, size=400)]
  counts = random.integers(9, size=(400, 1))
  flow = cinn_jax.make_flow(vector_flow(2, blocks=1, hidden=(8,)), (2,))
  variables, _ = cinn_jax.fit(flow, _key(0), x, (marks, counts), **OPTIONS)
  assert "cond" not in variables["constants"]["standardization"]


@pytest.mark.slow
def test_pictures_have_one_scale_per_channel():
  x = np.random.default_rng(0).normal(size=(300, 2, 2, 3)) * [1, 10, 100] + 5
  coupling = bj.AffineCoupling(lambda: cinn_jax.Subnet((8,), (1, 1)))
  flow = cinn_jax.make_flow(coupling, (2, 2, 3))
  variables, history = cinn_jax.fit(flow, _key(0), x, **OPTIONS)
  entry = variables["constants"]["standardization"]["x"]
  np.testing.assert_allclose(entry["std"], [1, 10, 100], rtol=0.1)
  total = flow.log_prob(variables, x.astype(np.float32)).total
  exact = -6 * np.log(2 * np.pi * np.e) - 4 * np.log(1e3)
  assert abs(np.mean(total) - exact) < 0.5
  assert abs(history.validation_log_prob.max() - exact) < 1


def test_bounded_columns_keep_their_units():
  random = np.random.default_rng(0)
  x = np.stack([random.uniform(size=500), random.normal(50, 9, size=500)], 1)
  module = bj.Chain((bj.Bounded((0.0, None), (1.0, None)), bj.ActNorm()))
  flow = cinn_jax.make_flow(module, (2,))
  variables, _ = cinn_jax.fit(flow, _key(0), x, **OPTIONS)
  entry = variables["constants"]["standardization"]["x"]
  np.testing.assert_allclose(entry["std"], [1, 9], rtol=0.1)
  samples, _ = flow.sample(variables, _key(1), None, num_samples=500)
  assert jnp.min(samples[..., 0]) > 0 and jnp.max(samples[..., 0]) < 1
  fixed = bj.Chain((bj.Standardize(0.0, (1.0, 9.0)), bj.ActNorm()))
  flow = cinn_jax.make_flow(fixed, (2,))
  variables, _ = cinn_jax.fit(flow, _key(0), x, **OPTIONS)
  assert "standardization" not in variables.get("constants", {})


@pytest.mark.parametrize(
  "name, keeps",
  [
    ("caflow", True),
    ("conditional_glow", True),
    ("dual_glow", True),
    ("hcflow", True),
    ("image_cinn", True),
    ("token_flow", True),
    ("wavelet_flow", True),
    ("haar_colorization", False),
    ("vector_flow", False),
  ],
)
def test_flows_of_pictures_keep_their_conditions(name, keeps):
  assert own_units.keeps_condition(small_models.build(name)) == keeps


def test_a_pair_flow_is_fitted_to_pictures():
  """Its condition has bounds, so a standardized one has no density."""
  flow = cinn_jax.make_flow(small_models.build("dual_glow"), (8, 8, 3))
  x, cond = np.random.default_rng(0).random((2, 12, 8, 8, 3), np.float32)
  result = cinn_jax.fit(flow, _key(0), x, cond, **{**OPTIONS, "num_epochs": 1})
  assert np.isfinite(result.history.validation_log_prob).all()
  assert "cond" not in result.variables.get("standardization", {})


def test_wavelet_flows_keep_their_units():
  model = wavelet_flow(**SMALL, mean=0.5, std=0.25)
  assert own_units.keeps_units(model, 2).all()
  kinds = {type(part).__name__ for part in own_units.layers_of(model)}
  assert {"PyramidFlow", "Stack"} <= kinds
