"""Networks that see numbers far from the data compressed."""

import jax
import numpy as np
import pytest

from cinn_jax.flow import make_flow
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.networks.taming import TamedSubnet, compress
from cinn_jax.models.wavelet_flow import wavelet_flow
from tests.support.drawing import draw_variables, normal
from tests.support.pyramids import SMALL


def test_numbers_are_compressed_smoothly_and_in_order():
  x = np.linspace(-9, 9, 721, dtype=np.float32)
  y = np.asarray(compress(x, 3.0))
  near = np.abs(x) <= 3
  np.testing.assert_array_equal(y[near], x[near])
  assert (np.diff(y) > 0).all() and np.diff(y).max() < 0.026
  np.testing.assert_allclose(y[-1], 3 + np.log(7), rtol=1e-6)
  np.testing.assert_allclose(y, -y[::-1], rtol=1e-6)


def test_tamed_networks_equal_plain_ones_near_the_data():
  x = normal(0, (20, 2), np.float32).clip(-2.9, 2.9)
  plain = Subnet(widths=(8,), kernels=(1, 1), zero_last=False)
  tamed = TamedSubnet(widths=(8,), kernels=(1, 1), zero_last=False)
  variables = plain.init(jax.random.key(0), x, None, 3)
  np.testing.assert_array_equal(
    tamed.apply(variables, x, None, 3), plain.apply(variables, x, None, 3)
  )
  far = np.float32([[1e6, -1e6]])
  assert np.abs(tamed.apply(variables, far, None, 3)).max() < 100
  assert np.abs(plain.apply(variables, far, None, 3)).max() > 1e4


def test_conditions_are_compressed_if_they_are_sampled_too():
  x, far = normal(0, (4, 2), np.float32), np.full((4, 3), 1e6, np.float32)
  layers = {"widths": (8,), "kernels": (1, 1), "zero_last": False}
  tamed = TamedSubnet(**layers, condition=True)
  variables = tamed.init(jax.random.key(0), x, (far,), 3)
  assert np.abs(tamed.apply(variables, x, (far,), 3)).max() < 100
  given = TamedSubnet(**layers).apply(variables, x, (far,), 3)
  assert np.abs(given).max() > 1e4


def test_networks_of_a_pyramids_details_are_tamed():
  for far, count in ((0.0, 0), (3.0, 1)):
    assert repr(wavelet_flow(**SMALL, far=far)).count("TamedSubnet") == count


def _largest(far):
  """The largest number in samples of a pyramid whose networks are strong."""
  module = wavelet_flow(**{**SMALL, "depths": (8,)}, alpha=0.7, far=far)
  flow = make_flow(module, (8, 8, 2), (16, 16, 1))
  x = normal(0, (4, 8, 8, 2), np.float32)
  cond = normal(1, (4, 16, 16, 1), np.float32)
  variables = draw_variables(module, 2, x, cond, 0.4)
  samples, _ = flow.sample(variables, jax.random.key(0), cond, 4)
  return np.abs(samples).max()


@pytest.mark.slow
def test_samples_of_a_pyramid_do_not_explode():
  assert _largest(3.0) < 0.1 * _largest(0.0)
