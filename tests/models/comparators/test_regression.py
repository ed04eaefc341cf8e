"""Regressions, by a decoder of the condition's features and by RRDB."""

import jax
import numpy as np
import pytest

from cinn_jax.evaluation.calibrate import calibrate
from cinn_jax.models import comparators
from cinn_jax.models.networks.u_net import sort_inputs
from cinn_jax.sampling.draw import Sampling, check_temperatures
from cinn_jax.workdir.trained import Trained
from tests.support.drawing import draw_like, normal

X = normal(0, (2, 4, 4, 2), np.float32)
COND = normal(1, (2, 8, 8, 1), np.float32)
SETTINGS = {
  "channels": 2,
  "widths": (4, 4),
  "condition_levels": (((3, 2),), ((4, 2),)),
  "condition_vector": 2,
  "mean": 0.3,
  "std": 0.5,
}
SMALL = normal(2, (1, 4, 4, 3), np.float32)
RRDB = {"blocks": 1, "width": 4, "growth": 4}
KEY = jax.random.key(3)


def _flow(name, x_shape, cond_shape, **settings):
  model = comparators.BUILDERS[name](**settings)
  flow = comparators.make(model, x_shape, cond_shape)
  x = jax.ShapeDtypeStruct((1, *x_shape), np.float32)
  cond = jax.ShapeDtypeStruct((1, *cond_shape), np.float32)
  return flow, draw_like(jax.eval_shape(flow.init, KEY, x, cond), 4, np.float32)


@pytest.fixture(scope="module")
def pictures():
  return _flow("regression", X.shape[1:], COND.shape[1:], **SETTINGS)


def test_all_samples_are_the_answer(pictures):
  flow, variables = pictures
  x, log_prob = flow.sample(variables, KEY, COND, num_samples=3)
  assert x.shape == (2, 3, 4, 4, 2)
  np.testing.assert_array_equal(x[:, 1:], np.repeat(x[:, :1], 2, axis=1))
  assert np.isnan(log_prob).all()
  # The two conditions differ, and so do their answers.
  assert np.abs(x[0] - x[1]).max() > 1e-3


def test_loss_is_the_error_in_units_of_std(pictures):
  flow, variables = pictures
  answer = flow.inverse(variables, (np.zeros((2, 0)),), COND)[0]
  error = (np.asarray(answer) - X) / 0.5
  loss, terms = flow.objective.loss(variables, KEY, X, COND)
  assert terms == {} and float(loss) == pytest.approx(np.mean(error**2), 1e-4)
  l1 = comparators.BUILDERS["regression"](**SETTINGS, error="l1")
  loss, _ = l1.loss(variables, KEY, X, COND)
  assert float(loss) == pytest.approx(np.mean(np.abs(error)), 1e-4)


def test_units_shift_the_answer(pictures):
  flow, variables = pictures
  plain = comparators.BUILDERS["regression"](**SETTINGS)
  features = plain.apply(variables, COND, (4, 4), method="features")
  assert {k: v.shape[1:] for k, v in features.items()} == {
    "level_0": (4, 4, 3),
    "level_1": (2, 2, 4),
    "picture": (4, 4, 1),
    "vector": (2,),
  }
  out = plain.apply(variables, COND, (4, 4), method="answer")
  x, _ = flow.inverse(variables, (np.zeros((2, 0)),), COND)
  np.testing.assert_allclose(x, 0.3 + 0.5 * out, rtol=1e-4, atol=1e-5)


def test_there_is_nothing_to_scale(pictures):
  flow, _ = pictures
  check_temperatures(flow, {}, (1.0,))
  with pytest.raises(ValueError, match="A regression has no latents to scale"):
    check_temperatures(flow, {}, (0.5,))


@pytest.mark.parametrize("noise", [0, 2])
def test_esrgan_has_the_noise_it_is_given(noise):
  flow, variables = _flow(
    "esrgan",
    (16, 16, 3),
    (4, 4, 3),
    noise=noise,
    discriminator_widths=(4,),
    **RRDB,
  )
  assert [z.shape for z in flow.latent_shapes(variables, SMALL)] == [
    (1, 4, 4, noise) if noise else (1, 0)
  ]
  x, _ = flow.sample(variables, KEY, SMALL, num_samples=2)
  assert (np.abs(x[:, 0] - x[:, 1]).max() > 1e-3) == bool(noise)
  if not noise:
    # The RRDB network alone, as `training.encoder_pretraining` trains it.
    params = {"params": variables["params"]["condition_net"]}
    guess = flow.module.condition_net.apply(params, SMALL, method="predict")
    np.testing.assert_allclose(x[:, 0], guess, rtol=1e-4, atol=1e-4)


def test_noise_of_esrgan_starts_at_a_level():
  model = comparators.BUILDERS["esrgan"](
    noise=4, discriminator_widths=(4,), **RRDB
  )
  flow = comparators.make(model, (16, 16, 3), (4, 4, 3))
  x = np.zeros((1, 16, 16, 3), np.float32)
  variables = jax.jit(flow.init)(KEY, x, SMALL)
  kernel, bias = (
    np.asarray(variables["params"]["noise"]["Conv_0"][name])
    for name in ("kernel", "bias")
  )
  # The network was trained without noise.
  levels = 255 * model.std * np.sqrt(np.sum(kernel**2, axis=(0, 1, 2)))
  assert np.all((levels > 0.5) & (levels < 1.5)) and not bias.any()


def test_a_map_of_another_size_raises():
  maps = {"a": np.zeros((1, 3, 4, 2)), "b": np.zeros((1, 5))}
  with pytest.raises(ValueError, match="maps of 4x4, 2x2, got 3x4"):
    sort_inputs(maps, (4, 4), 2)


def test_a_condition_of_several_arrays_raises(pictures):
  flow, variables = pictures
  with pytest.raises(ValueError, match="without hints or features; got dict"):
    flow.sample(variables, jax.random.key(0), {"lightness": COND})


def test_calibration_refuses(pictures, monkeypatch):
  flow, variables = pictures
  trained = Trained(0, {"task": {"name": "colorize"}}, flow, None, variables)
  monkeypatch.setattr(calibrate, "restore", lambda *_: trained)
  with pytest.raises(ValueError, match="a regression has no exact one"):
    calibrate.calibrate("anywhere", sampling=Sampling(num_samples=64))
