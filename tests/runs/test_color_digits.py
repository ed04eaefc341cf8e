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
from tests.support import tiny


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("color") / "run"
  train(tiny.color_digits(), path)
  return path


def test_training_descends_and_its_sheet_shows_grey_truth_samples(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  validated = [row for row in rows if row["split"] == "validation"]
  assert [row["step"] for row in validated] == [60, 120]
  assert validated[1]["bits_per_dim"] < validated[0]["bits_per_dim"] - 0.04
  assert 0 < validated[1]["round_trip_error"] < 1e-4
  assert validated[1]["examples"] == 180
  sheet = np.asarray(Image.open(workdir / "sheets" / "step_000120.png"))
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
  """Whether a picture is on a sheet, in the first row of a column."""
  left = 12 + column * (128 + 4)
  return any(
    np.array_equal(sheet[top : top + 128, left : left + 128], picture)
    for top in range(12, 60)
  )


def test_evaluation_tells_whether_colours_are_those_of_the_digit(workdir):
  evaluate.evaluate(workdir, sampling=Sampling(num_samples=2, seed=1))
  saved = json.loads((workdir / "evaluation.json").read_text())
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
    # One in six by chance; the truth's own share is the most to expect.
    assert 30 < value["samples"][name] < value["truth"][name] < 90


def test_the_first_test_picture_of_each_class_is_drawn(workdir, tmp_path):
  sample(workdir, tmp_path, num_samples=2, seed=1)
  names = [f"{label}_{k}.png" for label in range(10) for k in (1, 2)]
  found = sorted(path.name for path in tmp_path.iterdir())
  assert found == sorted([*names, "samples.json", "sheet.png"])
  shown = [np.asarray(Image.open(tmp_path / name)) for name in names]
  assert {picture.shape for picture in shown} == {(8, 8, 3)}
  assert len({picture.tobytes() for picture in shown}) == 20
  facts = json.loads((tmp_path / "samples.json").read_text())
  bits = [picture["bits_per_dim"] for picture in facts["pictures"].values()]
  assert all(row == sorted(row) for row in bits) and np.shape(bits) == (10, 2)


def test_a_class_that_is_missing_takes_no_others_name(
  workdir, tmp_path, monkeypatch
):
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
    *("samples.json", "sheet.png"),
  }
  told = json.loads((tmp_path / "samples.json").read_text())
  assert list(told["pictures"]) == list("12456789")


@pytest.mark.slow
def test_latents_are_drawn_under_some_pictures(workdir, monkeypatch):
  names = ("conditions", "transfer")
  chosen = {name: sheets.SHEETS[name] for name in names}
  monkeypatch.setattr(sheets, "SHEETS", chosen)
  paths = sheets.draw_latent_sheets(workdir)
  assert [path.stem for path in paths] == ["conditions", "transfer"]


def test_what_does_not_fit_is_said(workdir, tmp_path):
  with pytest.raises(ValueError, match="draws pictures of its classes"):
    sample(workdir, tmp_path, inputs=[__file__])
  config = tiny.color_digits()
  config.data.source = "digits"
  with pytest.raises(ValueError, match="together with grey ones"):
    train(config, tmp_path / "grey")
