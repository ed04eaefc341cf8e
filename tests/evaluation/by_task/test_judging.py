"""Distances by pretrained networks, and notes if their weights are missing."""

import numpy as np
import pytest

from cinn_jax.evaluation.by_task import fids, judging
from cinn_jax.evaluation.metrics import inception, lpips, restoration
from tests.support.judged import SIDE, draw_pictures, make_trained, rows_of


@pytest.mark.slow
def test_lpips_of_samples(with_lpips, outcome):
  batch, samples, _ = outcome
  metric = lpips.make_lpips()
  rows = rows_of(judging.Judge(make_trained()), *outcome)
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
  rows = rows_of(judging.Judge(make_trained()), *outcome)
  real = metric.embed(batch["image"])
  each = [
    metric.distance(real, metric.embed(x)) for x in samples.swapaxes(0, 1)
  ]
  for row, expected in ((judging.ONE, each[0]), (judging.MEAN, sum(each) / 3)):
    np.testing.assert_allclose(rows[row]["lpips_vgg16"], expected, rtol=1e-4)
    assert not np.allclose(rows[row]["lpips_vgg16"], rows[row]["lpips"])


def test_pairs_do_not_depend_on_their_batch(with_lpips):
  judge = judging.Judge(make_trained())
  truth, pictures = draw_pictures(4), draw_pictures(4, seed=1)
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
  real = draw_pictures(40)
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
  assert "'.[metrics]'" in judging.Judge(make_trained()).lines(8)[0]
  results, [line] = fids.fids(draw_pictures(4), {}, np.arange(4))
  assert results == {} and "cinn_jax.importing.inception" in line


def test_note_says_how_many_samples_coverage_takes(with_lpips):
  judge = judging.Judge(make_trained())
  assert "9 for 80%, 19 for 90%" in judge.lines(8)[0]
  assert not any("Coverage" in line for line in judge.lines(19))
