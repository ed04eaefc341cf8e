"""A linear-Gaussian flow is calibrated; at temperature 0.8 it is not.

Every number is compared with the one computed by hand. At temperature t, the
quantile of a truth e standard deviations from the mean is Phi(e / t), since the
samples have t times its standard deviation; so a share Phi(t Phi^-1(p)) of the
truths is below the level p.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from scipy.stats import chi2, norm

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.evaluation.calibrate import conformal, draws, latents, regions
from cinn_jax.evaluation.calibrate.pool import LEVELS
from tests.support.drawing import draw_variables

N, SAMPLES, SIDE = 200, 39, 8
DIMS = SIDE * SIDE * 2
SHARP = 0.8
FLOW = cinn_jax.make_flow(
  bj.Chain((bj.LearnedPrior(), bj.Orthogonal())), (SIDE, SIDE, 2), (3,)
)
X, COND = np.zeros((2, SIDE, SIDE, 2)), np.ones((2, 3))


@functools.cache
def _run(width=1.0):
  """Returns latents, and pools at temperatures 1 and 0.8, of a right model.

  Pictures are drawn with `width` times the model's standard deviation.
  """
  variables = draw_variables(FLOW.module, 3, X, COND)
  # Pictures differ by far more than their samples.
  kernel = variables["params"]["parts_0"]["condition_0"]["kernel"]
  kernel[:, :2] *= 1e4

  def truth(rng, batch):
    x, _ = FLOW.sample(variables, rng, batch["cond"], 1, width)
    return x[:, 0], batch["cond"]

  subject = draws.Subject(FLOW, variables, truth, lambda x, cond: x, ("a", "b"))
  random = np.random.default_rng(0)
  cond = random.normal(size=(N, 3))

  def batches():
    for k in range(0, N, 40):
      yield {"cond": cond[k : k + 40], "mask": np.ones(40, bool)}

  seen = draws.latents_over(subject, batches(), seed=1)
  pools = draws.pools_over(
    subject,
    batches(),
    num_samples=SAMPLES,
    temperatures=(1.0, SHARP),
    seed=1,
  )
  return seen, dict(zip((1.0, SHARP), pools, strict=True))


def _numbers(part):
  return {(line.of, line.name): line.measured for line in part.lines}


def _below(level, t):
  """Share of truths below the level's quantile of samples."""
  return norm.cdf(t * norm.ppf(level))


@pytest.mark.parametrize("t", [1.0, SHARP])
def test_regions(t):
  numbers = _numbers(regions.region_pit(_run()[1][t]))
  ece = np.mean(np.abs(_below(LEVELS, t) - LEVELS))
  assert (ece > 0.03) == (t == SHARP)
  for name in ("4x4, a", "4x4, b", "8x8, a", "8x8, b"):
    # 4 standard errors of a share of 200 * 16 independent regions.
    assert numbers[name, "ECE"].value == pytest.approx(ece, abs=0.013)
    assert numbers[name, "bias"].value == pytest.approx(0, abs=0.015)
    for level in (0.5, 0.8, 0.9):
      inside = 2 * _below((1 + level) / 2, t) - 1
      got = numbers[name, f"coverage of {level:.0%}"]
      assert got.value == pytest.approx(inside, abs=0.025)
      low, high = got.band
      assert low < level < high
      assert (low <= got.value <= high) or t == SHARP
    assert (numbers[name, "ECE"].value > 2 * numbers[name, "ECE"].band[1]) == (
      t == SHARP
    )


@pytest.mark.parametrize("t", [1.0, SHARP])
def test_density(t):
  numbers = _numbers(regions.hpd(_run()[1][t]))
  for level in (0.5, 0.8, 0.9, 0.95):
    inside = chi2.cdf(t**2 * chi2.ppf(level, DIMS), DIMS)
    got = numbers["density", f"coverage of {level:.0%}"].value
    assert got == pytest.approx(inside, abs=0.1 if t == 1.0 else 0.03)


@pytest.mark.parametrize("t", [1.0, SHARP])
def test_distances(t):
  """The other picture is far away, so distances are ordered along a line."""
  [(_, measured), *_] = _numbers(regions.tarp(_run()[1][t])).items()
  levels = np.arange(1, SAMPLES + 1) / (SAMPLES + 1)
  deviation = np.max(np.abs(_below(levels, t) - levels))
  # The largest of many deviations is at least the expected one, but for chance.
  assert deviation - 0.03 < measured.value < deviation + 0.07
  low, high = measured.band
  assert low < 1.36 / np.sqrt(N) * 0.95 < high  # Kolmogorov's distribution.
  assert (measured.value <= high) or t == SHARP


@pytest.mark.parametrize("t", [1.0, SHARP])
def test_conformal_intervals(t):
  pool = _run()[1][t]
  keys = [(grid, c) for grid in (4, 8) for c in ("a", "b")]
  part, offsets = conformal.conformal(pool, dict.fromkeys(keys, 1.0))
  numbers = _numbers(part)
  for grid, channel in keys:
    for level in (0.5, 0.8, 0.9):
      # The score of e is (|e| - t z) / (2 t z), with z of the level.
      q = (1 - t) / (2 * t)
      got = offsets[f"{grid}x{grid}"][channel][f"{level:g}"]
      assert got == pytest.approx(q, abs=0.05)
    name = f"{grid}x{grid}, {channel}"
    assert numbers[name, "coverage after"].value == pytest.approx(0.9, abs=0.03)
    wider = numbers[name, "width after"].value
    wider /= numbers[name, "width before"].value
    assert wider == pytest.approx(1 / t, abs=0.06)


@pytest.mark.parametrize("width", [1.0, 1 / SHARP])
def test_latents(width):
  """Pictures wider than the model: it is as if drawn at temperature 0.8."""
  seen, _ = _run(width)
  assert seen.dims.tolist() == [DIMS]
  tuned = latents.temperatures(seen)
  error = width / np.sqrt(2 * N * DIMS)
  assert tuned == pytest.approx([width], abs=4 * error)
  part = latents.latent_pit(seen, np.array([width]))
  [name] = seen.names
  numbers = {key[1]: m for key, m in _numbers(part).items() if key[0] == name}
  quantile = np.linspace(0, 1, 10_001)
  below = chi2.cdf(chi2.ppf(quantile, DIMS) / width**2, DIMS)
  mean = 1 - scipy.integrate.trapezoid(below, quantile)
  assert numbers["mean u"].value == pytest.approx(mean, abs=0.06)
  distance = np.max(np.abs(below - quantile))
  assert distance - 0.03 < numbers["KS"].value < distance + 0.08
  assert (numbers["KS"].value > numbers["KS"].band[1]) == (width != 1.0)
  assert numbers["KS, tuned"].value < numbers["KS, tuned"].band[1]
  bits = (0.5 * (1 - width**2) + np.log(width)) / np.log(2)
  change = latents.tuned_bits(seen, np.array([width])).mean()
  assert change == pytest.approx(bits, abs=0.02)


def test_log_prob_is_that_of_the_flow():
  variables = draw_variables(FLOW.module, 3, X, COND)
  subject = draws.Subject(
    FLOW,
    variables,
    lambda rng, batch: (batch["x"], batch["cond"]),
    lambda x, cond: x,
    ("a", "b"),
  )
  x = jax.random.normal(jax.random.key(0), (2, SIDE, SIDE, 2), jnp.float64)
  batch = {"x": np.asarray(x), "cond": COND, "mask": np.array([True, False])}
  [pool] = draws.pools_over(
    subject, iter([batch]), num_samples=3, temperatures=[1.0], seed=0
  )
  assert pool.means.shape == (1, 4, 8, 8, 2)
  expected = FLOW.log_prob(variables, x, COND).total[0]
  assert pool.log_prob[0, 0] == pytest.approx(float(expected), rel=1e-9)
  np.testing.assert_allclose(pool.means[0, 0], x[0], rtol=1e-6)
