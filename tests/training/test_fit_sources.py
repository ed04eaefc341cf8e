"""Sources of data for `fit`: NumPy simulators, loaders, invalid rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.models.networks.summary_nets import SetNet
from cinn_jax.models.vector_flow import vector_flow
from cinn_jax.training.monitor import Diverged

FLOW = cinn_jax.make_flow(
  vector_flow(2, blocks=3, hidden=(32,), coupling="affine", linear_start=False),
  (2,),
)
OPTIONS = {"num_epochs": 6, "batch_size": 64, "progress": False}
EXACT = -np.log(2 * np.pi * np.e * 0.2)


def _key(seed):
  return jax.random.key(seed)


def _pair(random, count):
  theta = random.normal(size=(count, 2)).astype(np.float32)
  noise = 0.5 * random.normal(size=(count, 2)).astype(np.float32)
  return theta, theta + noise


def _simulate(rng, batch_size):
  key_theta, key_noise = jax.random.split(rng)
  theta = jax.random.normal(key_theta, (batch_size, 2))
  return theta, theta + 0.5 * jax.random.normal(key_noise, (batch_size, 2))


def _mean_of_fresh(variables):
  return np.mean(
    FLOW.log_prob(variables, *_pair(np.random.default_rng(9), 4000)).total
  )


def _all_of_numpy(random, rng, count):
  return _pair(random, count)


def _noise_of_numpy(random, rng, count):
  theta = jax.random.normal(rng, (count, 2))
  return theta, theta + 0.5 * random.normal(size=(count, 2))


def _seeded(random, rng, count):
  seed = np.asarray(jax.random.key_data(rng))
  return _pair(np.random.default_rng(seed), count)


@pytest.mark.parametrize(
  "simulate, reason",
  [
    (_all_of_numpy, "it draws random numbers that are not"),
    pytest.param(
      _noise_of_numpy,
      "it draws random numbers that are not JAX's",
      marks=pytest.mark.slow,
    ),
    (_seeded, "cannot trace it"),
  ],
)
def test_numpy_simulators_run_on_the_host(simulate, reason):
  calls, random = [], np.random.default_rng(0)

  def counted(rng, batch_size):
    calls.append(batch_size)
    return simulate(random, rng, batch_size)

  with pytest.warns(
    RuntimeWarning, match=f"runs on the host, since .*{reason}"
  ):
    variables, _ = cinn_jax.fit(FLOW, _key(0), counted, **OPTIONS)
  assert len(calls) > 600
  assert abs(_mean_of_fresh(variables) - EXACT) < 0.1


@pytest.mark.filterwarnings("error")
def test_jax_simulators_are_traced():
  calls = []

  def counted(rng, batch_size):
    calls.append(batch_size)
    return _simulate(rng, batch_size)

  cinn_jax.fit(FLOW, _key(0), counted, **OPTIONS)
  assert len(calls) < 8


@pytest.mark.slow
def test_loaders_and_lists_are_joined():
  random = np.random.default_rng(0)
  pairs = [_pair(random, 100) for _ in range(9)] + [_pair(random, 37)]

  class Loader:
    def __len__(self):
      return len(pairs)

    def __iter__(self):
      return (list(pair) for pair in pairs)

  joined = [np.concatenate(part) for part in zip(*pairs, strict=True)]
  histories = [
    cinn_jax.fit(FLOW, _key(0), *data, **OPTIONS).history
    for data in (joined, [Loader()], [pairs])
  ]
  for history in histories[1:]:
    np.testing.assert_array_equal(
      history.validation_log_prob, histories[0].validation_log_prob
    )


def test_nan_of_a_simulator_is_named_or_skipped():
  def simulate(rng, batch_size):
    theta, x = _simulate(rng, batch_size)
    return theta, {"a": jnp.where(theta[:, :1] > 3.1, jnp.nan, x)}

  message = (
    r"cond\['a'\] is not finite in 1 of 64 rows .* first at \d+\. Repair"
  )
  with pytest.raises(Diverged, match=message):
    cinn_jax.fit(FLOW, _key(0), simulate, validation_fraction=0.01, **OPTIONS)
  result = cinn_jax.fit(FLOW, _key(0), simulate, invalid="skip", **OPTIONS)
  # P(theta > 3.1) is 0.001.
  assert 10 < result.history.num_invalid < 90
  theta, x = _simulate(_key(5), 4000)
  fresh = np.mean(FLOW.log_prob(result, theta, {"a": x}).total)
  assert abs(fresh - EXACT) < 0.1


def test_rows_of_arrays_are_skipped():
  theta, x = _pair(np.random.default_rng(0), 400)
  wrong = theta.copy()
  wrong[[3, 99]] = np.nan, np.inf
  skipped = cinn_jax.fit(FLOW, _key(0), wrong, x, invalid="skip", **OPTIONS)
  assert skipped.history.num_invalid == 2
  left = np.delete(theta, [3, 99], 0), np.delete(x, [3, 99], 0)
  expected = cinn_jax.fit(FLOW, _key(0), *left, **OPTIONS)
  np.testing.assert_array_equal(
    skipped.history.validation_log_prob, expected.history.validation_log_prob
  )


def test_rows_on_a_bound_are_named_or_skipped():
  x = np.random.default_rng(0).uniform(size=(300, 2))
  x[[7, 30], 1] = 1.0, 1.5
  module = bj.Chain((bj.Bounded(0.0, (None, 1.0)), bj.ActNorm()))
  flow = cinn_jax.make_flow(module, (2,))
  message = (
    r"x\[:, 1\] is on or outside Bounded's 0 and 1 in 2 of 300 rows, the"
    " first at 7"
  )
  with pytest.raises(ValueError, match=message):
    cinn_jax.fit(flow, _key(0), x, **OPTIONS)
  history = cinn_jax.fit(flow, _key(0), x, invalid="skip", **OPTIONS).history
  assert history.num_invalid == 2
  assert np.isfinite(history.validation_log_prob).all()


def test_rows_without_a_finite_density_are_named():
  x = _pair(np.random.default_rng(0), 300)[0]
  x[40] = 1e30
  message = r"no finite density to 1 of \d+ rows of .*, the first at 40\."
  with pytest.raises(Diverged, match=message):
    cinn_jax.fit(FLOW, _key(0), x, standardize=False, **OPTIONS)


def test_values_that_a_mask_hides_may_be_nan():
  random = np.random.default_rng(0)
  theta, _ = _pair(random, 300)
  mask = random.uniform(size=(300, 4)) < 0.6
  mask[:, 0] = True
  values = theta[:, None] + random.normal(size=(300, 4, 2))
  padded, zeros = (
    {"mask": mask, "values": np.where(mask[..., None], values, fill)}
    for fill in (np.nan, 0.0)
  )
  flow = cinn_jax.make_flow(
    vector_flow(2, blocks=1, hidden=(8,), condition_net=SetNet()), (2,)
  )
  options = {**OPTIONS, "num_epochs": 2}
  histories = [
    cinn_jax.fit(flow, _key(0), theta, cond, **options).history
    for cond in (padded, zeros)
  ]
  np.testing.assert_array_equal(
    *(history.validation_log_prob for history in histories)
  )

  def simulate(rng, batch_size):
    theta, x = _simulate(rng, batch_size)
    hidden = jnp.full((batch_size, 1, 2), jnp.nan)
    sets = jnp.concatenate([x[:, None], hidden], axis=1)
    return theta, {"values": sets, "mask": jnp.isfinite(sets[..., 0])}

  history = cinn_jax.fit(flow, _key(0), simulate, **options).history
  assert np.isfinite(history.validation_log_prob).all()
  # A value that counts is still refused.
  padded["values"][7, 0] = np.nan
  with pytest.raises(ValueError, match=r"cond\['values'\] is not finite in 1 "):
    cinn_jax.fit(flow, _key(0), theta, padded, **options)


def test_lists_of_minibatches_may_hold_lists():
  random = np.random.default_rng(0)
  pairs = [_pair(random, 50) for _ in range(6)]
  options = {**OPTIONS, "num_epochs": 1}
  histories = [
    cinn_jax.fit(FLOW, _key(0), batches, **options).history
    for batches in (
      pairs,
      [(theta.tolist(), x.tolist()) for theta, x in pairs],
    )
  ]
  np.testing.assert_allclose(
    *(history.validation_log_prob for history in histories), rtol=1e-4
  )
