"""Several temperatures in one evaluation, in one pass over the pictures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cinn_jax.data import loader
from cinn_jax.evaluation.by_task import image_to_image, judging
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.evaluation.metrics import inception, lpips, restoration
from cinn_jax.experiment.build import build_task
from cinn_jax.sampling import over_split
from cinn_jax.sampling.draw import Sampling
from configs import super_resolution
from tests.support import untrained

SIDE = 16


@pytest.fixture(autouse=True)
def without_weights(monkeypatch, tmp_path):
  monkeypatch.setattr(lpips, "is_installed", lambda: False)
  monkeypatch.setattr(
    inception, "make_extractor", lambda _: inception.load(tmp_path / "none")
  )


def test_each_outcome_has_its_own_rows():
  rng = np.random.default_rng(0)
  task = build_task("super_resolution", image_size=SIDE)
  module = SimpleNamespace()
  judge = judging.Judge(
    SimpleNamespace(
      task=task,
      flow=SimpleNamespace(module=module, objective=None),
      variables={},
    )
  )
  truth = rng.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
  outcomes = [
    (
      rng.integers(0, 256, (2, 3, SIDE, SIDE, 3), np.uint8),
      rng.normal(size=(2, 3)),
    )
    for _ in range(2)
  ]
  batch = {"image": truth}
  together, references = judge.rows(batch, outcomes)
  for outcome, rows in zip(outcomes, together, strict=True):
    [alone], same = judge.rows(batch, [outcome])
    assert set(alone) == set(rows) and set(same) == set(references)
    for name, values in (alone | same).items():
      found = (rows | references)[name]
      assert set(found) == set(values), name
      for metric, value in values.items():
        np.testing.assert_allclose(
          found[metric], value, rtol=1e-5, err_msg=f"{name} {metric}"
        )
  first, second = (rows[judging.AVERAGE]["rmse"] for rows in together)
  samples = outcomes[1][0]
  average = np.round(samples.mean(axis=1)).astype(np.uint8)
  np.testing.assert_allclose(second, restoration.rmse(truth, average))
  assert not np.allclose(first, second)


def _config():
  config = super_resolution.get_config()
  config.model.update(
    {"hidden": (4,), "depths": (1,), "condition_channels": (4,)}
  )
  return config


def test_evaluation_at_several_temperatures(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(over_split, "BATCH_SIZE", 72)
  passes = []
  batches = loader.evaluation_batches

  def count(*args, **options):
    passes.append(options["batch_size"])
    return batches(*args, **options)

  monkeypatch.setattr(loader, "evaluation_batches", count)
  untrained.make_workdir(_config(), tmp_path)
  evaluate(tmp_path, sampling=Sampling(3, [0.0, 1.0], 1))
  # Once for bits/dim, and once for the samples of both temperatures.
  assert len(passes) == 2
  content = json.loads((tmp_path / "evaluation.json").read_text())
  assert content["temperatures"] == [0.0, 1.0]
  rows = content["rows"]
  names = list(rows)
  own = [judging.ONE, judging.MEAN, judging.LIKELIEST, judging.BEST]
  own.append(judging.AVERAGE)
  assert names == [
    *(f"{name}, temperature 0" for name in own),
    *(f"{name}, temperature 1" for name in own),
    *(judging.NO_MODEL, judging.OTHER),
  ]
  assert [rows[name]["mark"] for name in names] == ["ours"] * 10 + [
    "reference"
  ] * 2

  def value(temperature, metric):
    row = rows[f"{judging.MEAN}, temperature {temperature}"]
    return row["metrics"][metric]["value"]

  assert value(0, "pixel_std") == 0 < value(1, "pixel_std")
  assert f"| {judging.MEAN}, temperature 1 " in capsys.readouterr().out


def test_rows_without_a_temperature_keep_their_names():
  rows = image_to_image.Rows([0.7])
  rows.add([{judging.ONE: {"rmse": np.ones(2)}}], {})
  [[name, row]] = rows.summary({}, 4, 0).items()
  assert name == judging.ONE and row.samples == 1
