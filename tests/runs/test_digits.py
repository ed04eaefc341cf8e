"""Class-conditional digits from the first step to samples and evaluation."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from cinn_jax import tasks
from cinn_jax.evaluation import evaluate
from cinn_jax.evaluation.by_task import classifier
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import SAMPLERS, sample
from cinn_jax.training.train import train
from cinn_jax.workdir.trained import restore
from tests.support import tiny


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("digits") / "run"
  train(tiny.digits(num_steps=300, eval_every=300, sheet_every=300), path)
  return path


@pytest.fixture(scope="module")
def evaluation(workdir):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(classifier, "STEPS", 60)
    evaluate.evaluate(workdir, sampling=Sampling(num_samples=2, seed=1))
  return json.loads((workdir / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def outputs(workdir, tmp_path_factory):
  out = tmp_path_factory.mktemp("out")
  sample(workdir, out, num_samples=3, temperatures=[0.7], seed=1)
  return out


def test_training_logs_bits_and_writes_a_sheet(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  [validated] = [row for row in rows if row["split"] == "validation"]
  assert validated["examples"] == 180
  bits, scale = validated["bits_per_dim"], 0.376 * 16
  assert validated["bits_per_dim_of_unscaled_data"] == pytest.approx(
    bits + np.log2(scale)
  )
  assert validated["nats_without_constant"] == pytest.approx(
    bits * np.log(2) - np.log(2 * np.pi) / 2
  )
  trained = [row["bits_per_dim"] for row in rows if row["split"] == "train"]
  assert trained[-1] < trained[0] - 0.05
  assert (workdir / "sheets" / "step_000300.png").is_file()


def test_evaluation_has_rows_and_neighbours(evaluation, workdir):
  assert "digits (test: 360" in evaluation["source"]
  likelihood = evaluation["likelihood"]
  assert likelihood["examples"] == 360
  assert {"bits_per_dim_of_unscaled_data", "nats_without_constant"} <= set(
    likelihood
  )
  rows = evaluation["rows"]
  assert list(rows) == ["samples", "test pictures", "test pictures with noise"]
  assert [row["mark"] for row in rows.values()] == ["ours"] + ["reference"] * 2
  assert [row["samples"] for row in rows.values()] == [2, 1, 1]
  # The last batch's padding is left out.
  assert {row["images"] for row in rows.values()} == {360}
  values = {
    name: {k: v["value"] for k, v in row["metrics"].items()}
    for name, row in rows.items()
  }
  # The classifier knows real digits, and samples are better than chance.
  accuracy = [values[name]["accuracy"] for name in rows]
  assert accuracy[1] > 80 and accuracy[0] > 30
  # Noise moves pictures away from the training pictures.
  distance = [values[name]["neighbour"] for name in reversed(rows)]
  assert distance[1] < distance[0] < distance[2]
  assert (workdir / "neighbours.png").is_file()


def test_non_finite_bits_stop_the_evaluation(workdir, monkeypatch):
  scores = {"bits_per_dim": np.nan}
  monkeypatch.setattr(evaluate.Validator, "score", lambda *_, **options: scores)
  with pytest.raises(ValueError, match=r"bits/dim of digits .* is nan: these"):
    evaluate.evaluate(workdir)


def test_every_class_is_sampled_and_ranked(outputs):
  files = sorted(path.name for path in outputs.iterdir())
  pictures = [f"{label}_{k}.png" for label in range(10) for k in (1, 2, 3)]
  assert files == sorted([*pictures, "samples.json", "sheet.png"])
  shown = [np.asarray(Image.open(outputs / name)) for name in pictures]
  assert {picture.shape for picture in shown} == {(8, 8, 3)}
  assert len({picture.tobytes() for picture in shown}) == 30
  facts = json.loads((outputs / "samples.json").read_text())
  settings = facts["settings"]
  assert (settings["step"], settings["seed"]) == (300, 1)
  assert settings["temperature"] == 0.7
  bits = [picture["bits_per_dim"] for picture in facts["pictures"].values()]
  assert np.shape(bits) == (10, 3)
  assert all(row == sorted(row) for row in bits)


def test_samples_are_likeliest_for_their_class(workdir, outputs):
  trained = restore(workdir)
  score = jax.jit(trained.flow.log_prob)
  names = [f"{label}_1.png" for label in range(10)]
  image = np.stack([np.asarray(Image.open(outputs / n)) for n in names])
  scores = []
  for label in range(10):
    labels = np.full(10, label, np.int32)
    x, cond = trained.task.prepare({"image": image, "label": labels})
    scores.append(score(trained.variables, x, cond).total)
  likeliest = np.argmax(scores, axis=0)
  assert np.mean(likeliest == np.arange(10)) > 0.6


def test_temperature_zero_gives_equal_samples(workdir, tmp_path):
  sample(workdir, tmp_path, num_samples=2, temperatures=[0.0])
  for label in range(10):
    first, second = (
      (tmp_path / f"{label}_{k}.png").read_bytes() for k in (1, 2)
    )
    assert first == second
  firsts = {(tmp_path / f"{label}_1.png").read_bytes() for label in range(10)}
  assert len(firsts) == 10


def test_every_task_can_be_sampled_and_evaluated():
  assert set(evaluate.SAMPLES) == set(SAMPLERS) == set(tasks.BUILDERS)


def test_mistakes_raise(workdir, tmp_path):
  with pytest.raises(ValueError, match="leave it out"):
    sample(workdir, tmp_path, inputs=[__file__])
  with pytest.raises(FileNotFoundError, match="No trained checkpoint"):
    sample(tmp_path / "none", tmp_path)
  config = tiny.digits()
  config.data.source = "photos"
  with pytest.raises(ValueError, match="needs pictures with labels"):
    train(config, tmp_path / "photos")
