"""Coloured digits from the first step to samples, evaluation and latents."""

import json

import numpy as np
import pytest
from PIL import Image

from cinn_jax.data import sources
from cinn_jax.evaluation import evaluate
from cinn_jax.evaluation.latent import sheets
from cinn_jax.sampling import classes
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from tests.support import tiny, untrained


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp("color") / "run"
  train(tiny.color_digits(), path)
  return path


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("untrained") / "run"
  untrained.make_workdir(tiny.color_digits(), path, noise=0.1)
  return path


@pytest.mark.slow
def test_training_descends_and_writes_sheets(trained):
  lines = (trained / "metrics.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  validated = [row for row in rows if row["split"] == "validation"]
  assert [row["step"] for row in validated] == [160, 320]
  assert validated[1]["bits_per_dim"] < validated[0]["bits_per_dim"] - 0.04
  assert 0 < validated[1]["round_trip_error"] < 1e-4
  assert validated[1]["examples"] == 180
  sheet = np.asarray(Image.open(trained / "sheets" / "step_000320.png"))
  # Columns of 128 pixels; the first row is the first validation picture.
  truth = sources.open_source("color_digits", "validation")[0]
  grey, colored = (
    np.asarray(
      Image.fromarray(truth[name]).resize((128,) * 2, Image.Resampling.BICUBIC)
    )
    for name in ("grey", "image")
  )
  for column, picture in enumerate((grey, colored)):
    assert _is_somewhere(picture, sheet, column)


def _is_somewhere(picture, sheet, column):
  """Tells if a picture is in the first row of a column of a sheet."""
  left = 12 + column * (128 + 4)
  return any(
    np.array_equal(sheet[top : top + 128, left : left + 128], picture)
    for top in range(12, 60)
  )


@pytest.mark.slow
def test_evaluation_measures_hues_per_class(trained):
  evaluate.evaluate(trained, sampling=Sampling(num_samples=2, seed=1))
  saved = json.loads((trained / "evaluation.json").read_text())
  assert "coloured digits (test: 360" in saved["source"]
  assert saved["likelihood"]["examples"] == 360
  rows = saved["rows"]
  assert [row["mark"] for row in rows.values()] == ["ours"] + ["reference"] * 2
  assert list(rows) == ["samples", "grey", "truth"]
  assert [row["samples"] for row in rows.values()] == [2, 1, 1]
  assert {row["images"] for row in rows.values()} == {360}
  value = {
    name: {k: v["value"] for k, v in row["metrics"].items()}
    for name, row in rows.items()
  }
  assert value["truth"]["single_rmse"] == 0
  assert value["samples"]["single_rmse"] < value["grey"]["single_rmse"]
  assert value["samples"]["variance"] > 10
  for name in ("foreground", "background"):
    assert value["grey"][name] == 0
    # Chance is one in six, and the share of the test pictures is the limit.
    assert 30 < value["samples"][name] < value["truth"][name] < 90


@pytest.mark.slow
def test_sampling_takes_a_test_picture_per_class(workdir, tmp_path):
  sample(workdir, tmp_path, num_samples=2, seed=1)
  names = [f"{label}_{k}.png" for label in range(10) for k in (1, 2)]
  files = sorted(path.name for path in tmp_path.iterdir())
  assert files == sorted([*names, "samples.json", "sheet.png"])
  shown = [np.asarray(Image.open(tmp_path / name)) for name in names]
  assert {picture.shape for picture in shown} == {(8, 8, 3)}
  assert len({picture.tobytes() for picture in shown}) == 20
  facts = json.loads((tmp_path / "samples.json").read_text())
  bits = [picture["bits_per_dim"] for picture in facts["pictures"].values()]
  assert all(row == sorted(row) for row in bits) and np.shape(bits) == (10, 2)


@pytest.mark.slow
def test_missing_classes_do_not_shift_names(workdir, tmp_path, monkeypatch):
  first = classes.CONDITIONS["color_mnist"]

  def without_two(trained):
    batch = first(trained)
    kept = ~np.isin(batch["label"], (0, 3))
    return {name: values[kept] for name, values in batch.items()}

  monkeypatch.setitem(classes.CONDITIONS, "color_mnist", without_two)
  sample(workdir, tmp_path, num_samples=1)
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {
    *(f"{label}_1.png" for label in (1, 2, 4, 5, 6, 7, 8, 9)),
    "samples.json",
    "sheet.png",
  }
  facts = json.loads((tmp_path / "samples.json").read_text())
  assert list(facts["pictures"]) == list("12456789")


@pytest.mark.slow
def test_latent_sheets_of_a_conditional_run(trained, monkeypatch):
  names = ("conditions", "transfer")
  chosen = {name: sheets.SHEETS[name] for name in names}
  monkeypatch.setattr(sheets, "SHEETS", chosen)
  paths = sheets.draw_latent_sheets(trained)
  assert [path.stem for path in paths] == ["conditions", "transfer"]


@pytest.mark.slow
def test_inputs_and_missing_grey_raise(workdir, tmp_path):
  with pytest.raises(ValueError, match="draws pictures of its classes"):
    sample(workdir, tmp_path, inputs=[__file__])
  config = tiny.color_digits()
  config.data.source = "digits"
  with pytest.raises(ValueError, match="together with grey ones"):
    train(config, tmp_path / "grey")
