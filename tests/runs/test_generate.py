"""Unconditional pictures from the first step to samples and evaluation."""

import json

import numpy as np
import pytest
from PIL import Image

from cinn_jax.evaluation.by_task.generate import statistics
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from configs import generate


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  config = generate.get_config("glow")
  config.model.update({"levels": 2, "depth": 1, "hidden": 8})
  config.task.image_size = 8
  config.optimizer.schedule_options.warmup_steps = 0
  config.train.update(
    {
      "num_steps": 60,
      "batch_size": 16,
      "ema_decay": 0.5,
      "log_every": 20,
      "eval_every": 60,
      "sheet_every": 60,
    }
  )
  path = tmp_path_factory.mktemp("generate") / "run"
  train(config, path)
  return path


@pytest.mark.slow
def test_training_descends_and_writes_sheets(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  trained = [row["bits_per_dim"] for row in rows if row["split"] == "train"]
  assert trained[-1] < trained[0] - 0.2
  [validated] = [row for row in rows if row["split"] == "validation"]
  # A uniform density has 8 bits.
  assert validated["bits_per_dim_of_unscaled_data"] < 7.8
  assert (workdir / "sheets" / "step_000060.png").is_file()


@pytest.mark.slow
def test_sampling_draws_eight_rows(workdir, tmp_path):
  sample(workdir, tmp_path, num_samples=2, seed=1)
  pictures = [
    np.asarray(Image.open(tmp_path / f"{row}_{k}.png"))
    for row in range(8)
    for k in (1, 2)
  ]
  assert {picture.shape for picture in pictures} == {(8, 8, 3)}
  assert len({picture.tobytes() for picture in pictures}) == 16
  assert (tmp_path / "sheet.png").is_file()


@pytest.mark.slow
def test_evaluation_reports_the_draws_of_noise(workdir, capsys):
  evaluate(workdir, num_draws=4)
  out = capsys.readouterr().out
  assert "over 4 draws of the noise" in out and "8-bit levels" in out
  saved = json.loads((workdir / "evaluation.json").read_text())["likelihood"]
  weighted = saved["importance_weighted"]
  assert weighted["draws"] == 4
  assert weighted["bits_per_dim"] < saved["bits_per_dim"] + 0.01
  assert weighted["bits_per_dim_of_unscaled_data"] == pytest.approx(
    weighted["bits_per_dim"] + 8
  )


def test_statistics_are_over_all_numbers():
  shown = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 4, 3), np.uint8)
  values = {k: value for k, (value, _) in statistics(shown).items()}
  assert values == pytest.approx(
    {
      "brightness": shown.mean(),
      "contrast": shown.std(),
      "clipped": 100 * np.isin(shown, (0, 255)).mean(),
    }
  )


def test_unknown_variant_raises():
  with pytest.raises(ValueError, match="'pixelcnn'; there are glow, realnvp"):
    generate.get_config("pixelcnn")
