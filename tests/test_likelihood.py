"""Likelihoods in nats and bits, compared with SciPy and with examples."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cinn_jax import likelihood


def _latents(seed=0):
  random = np.random.default_rng(seed)
  shapes = (3, 4, 4, 2), (3, 5)
  return tuple(random.normal(size=s).astype(np.float32) for s in shapes)


def test_standard_normal_is_scipys_per_example():
  z = _latents()
  expected = [scipy.stats.norm.logpdf(leaf).reshape(3, -1).sum(1) for leaf in z]
  np.testing.assert_allclose(
    likelihood.standard_normal(z), sum(expected), rtol=1e-6
  )
  np.testing.assert_allclose(
    likelihood.standard_normal(z[1]), expected[1], rtol=1e-6
  )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_standard_normal_is_at_least_float32(dtype):
  ones = jnp.ones((1, 2000), dtype)
  nats = likelihood.standard_normal(ones)
  assert nats.dtype == jnp.float32
  expected = 2000 * scipy.stats.norm.logpdf(1.0)
  np.testing.assert_allclose(nats, [expected], rtol=1e-6)


def test_standard_normal_keeps_float64():
  with jax.enable_x64(True):
    nats = likelihood.standard_normal(np.full((1, 7), 0.3))
    assert nats.dtype == jnp.float64
    np.testing.assert_allclose(nats, [7 * scipy.stats.norm.logpdf(0.3)])


def test_total_is_the_sum_of_the_parts():
  z, log_det = _latents(), jnp.array([1.0, -2.0, 30.0])
  parts = likelihood.log_prob(z, log_det)
  np.testing.assert_array_equal(parts.prior, likelihood.standard_normal(z))
  np.testing.assert_array_equal(parts.log_det, log_det)
  np.testing.assert_allclose(parts.total, parts.prior + log_det)


def test_bits_of_small_examples():
  # Two numbers with density 1/4: two bits each.
  assert likelihood.bits_per_dim(2 * math.log(0.25), 2) == pytest.approx(2.0)
  bits = likelihood.bits_by_part(-6 * math.log(2), 2 * math.log(2), 4)
  assert bits == pytest.approx(
    {"bits_per_dim": 1.0, "bits_prior": 1.5, "bits_log_det": -0.5}
  )


def test_bits_of_parts_add_up_per_example():
  parts = likelihood.log_prob(_latents(), jnp.array([1.0, -2.0, 30.0]))
  bits = likelihood.bits_by_part(*parts, 37)
  np.testing.assert_allclose(
    bits["bits_per_dim"], bits["bits_prior"] + bits["bits_log_det"], rtol=1e-5
  )
  np.testing.assert_allclose(
    bits["bits_per_dim"], -np.asarray(parts.total) / 37 / math.log(2), rtol=1e-5
  )


def test_rescaled_bits_match_the_rescaled_density():
  # x ~ N(0, 1) in two channels, v = scale * x + offset.
  scales, offsets = np.array([11.2, 0.25]), np.array([3.0, -7.0])
  x = np.random.default_rng(1).normal(size=(4, 4, 2))
  of_x = scipy.stats.norm.logpdf(x).sum()
  of_v = scipy.stats.norm.logpdf(
    scales * x + offsets, loc=offsets, scale=scales
  ).sum()
  bits = likelihood.bits_per_dim(of_x, x.size)
  assert likelihood.rescale_bits_per_dim(bits, tuple(scales)) == pytest.approx(
    likelihood.bits_per_dim(of_v, x.size)
  )


def test_nats_without_constant_are_the_published_loss():
  z, log_det = _latents()[1], jnp.array([1.0, -2.0, 30.0])
  parts = likelihood.log_prob(z, log_det)
  loss = float(np.mean(z**2) / 2 - np.mean(log_det) / 5)
  bits = likelihood.bits_per_dim(float(np.mean(parts.total)), 5)
  nats = likelihood.nats_without_constant(bits)
  assert nats == pytest.approx(loss, rel=1e-5)
  back = likelihood.bits_from_nats_without_constant(nats)
  assert back == pytest.approx(bits, rel=1e-6)


def test_bits_of_grey_levels_from_the_published_loss():
  # (loss + ln(2 pi)/2 + ln(0.305 * 255)) / ln 2, for x = (v/255 - m) / 0.305.
  loss = -1.7
  nats = loss + 0.5 * math.log(2 * math.pi) + math.log(0.305 * 255)
  bits = likelihood.bits_from_nats_without_constant(loss)
  assert likelihood.rescale_bits_per_dim(bits, (0.305 * 255,)) == pytest.approx(
    nats / math.log(2)
  )
