"""Runs of models other than flows: training, samples, modes, tables."""

import json

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.evaluation.latent.sheets import draw_latent_sheets
from cinn_jax.experiment.describe import describe
from cinn_jax.sampling.choice import Choice
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from cinn_jax.workdir.log import read_log
from cinn_jax.workdir.portable import export
from cinn_jax.workdir.status import status
from cinn_jax.workdir.trained import restore
from tests.support import comparators
from tests.support.trees import assert_same


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
  """A workdir of a GAN after four steps."""
  folder = tmp_path_factory.mktemp("gan")
  train(comparators.digits("cgan"), folder)
  return folder


def test_a_gan_logs_its_losses_and_its_error(gan):
  rows = read_log(gan)
  own = [row for row in rows if row["split"] == "train"]
  assert [row["step"] for row in own] == [1, 2, 3, 4]
  for row in own:
    parts = row["generator"] + row["discriminator"] + row["r1"]
    assert row["loss"] == pytest.approx(parts, rel=1e-4)
    assert "bits_per_dim" not in row
  validated = [row for row in rows if row["split"] == "validation"]
  assert [row["step"] for row in validated] == [2, 4]
  assert all({"error", "examples"} < set(row) for row in validated)
  text = status(gan)
  assert "loss" in text and "best  validation error" in text
  assert list((gan / "sheets").glob("step_000004.png"))


@pytest.mark.slow
def test_a_resumed_gan_ends_as_one_without_a_break(gan, tmp_path):
  train(comparators.digits("cgan", num_steps=2), tmp_path)
  train(comparators.digits("cgan"), tmp_path)
  assert_same(restore(gan).variables, restore(tmp_path).variables)


def test_samples_have_no_likelihood(gan, tmp_path):
  assert sample(gan, tmp_path, num_samples=2) == {}
  content = json.loads((tmp_path / "samples.json").read_text())
  assert len(content["pictures"]) == 10
  for entry in content["pictures"].values():
    assert entry["bits_per_dim"] == [None, None]
    assert entry["draws"] == [0, 1]


def test_modes_that_need_more_refuse(gan, tmp_path):
  with pytest.raises(ValueError, match="a conditional GAN has no latents"):
    draw_latent_sheets(gan)
  with pytest.raises(ValueError, match="this run has no likelihood"):
    sample(gan, tmp_path, choice=Choice(keep=1))


def test_an_exported_gan_draws_the_same(gan, tmp_path):
  file = tmp_path / "gan.safetensors"
  export(gan, file)
  flow, variables = cinn_jax.load(file)
  trained = restore(gan)
  cond = jax.nn.one_hot(np.array([3, 7]), 10)
  one, other = (
    each.sample(weights, jax.random.key(0), cond, num_samples=2)[0]
    for each, weights in ((flow, variables), (trained.flow, trained.variables))
  )
  np.testing.assert_array_equal(one, other)


def test_describe_has_no_forward(gan):
  text = describe(comparators.digits("cgan"))
  assert "discriminator" in text and "8 samples of one condition" in text
  assert "data to latent" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cvae", "regression"])
def test_the_table_says_what_there_is(name, tmp_path, capsys):
  train(comparators.digits(name), tmp_path)
  evaluate(tmp_path, num_draws=4, sampling=Sampling(num_samples=2))
  content = json.loads((tmp_path / "evaluation.json").read_text())
  scores, out = content["likelihood"], capsys.readouterr().out
  assert np.isfinite(scores["error"])
  if name == "regression":
    assert "bits_per_dim" not in scores
    assert "no bits/dim: this model has no likelihood" in out
    with pytest.raises(
      ValueError, match="A regression has no latents to scale"
    ):
      evaluate(tmp_path, sampling=Sampling(2, (0.5,)))
    return
  # Four draws of the code give a tighter bound than one.
  weighted = scores["importance_weighted"]
  assert weighted["draws"] == 4 and weighted["of"] == "code"
  assert weighted["bits_per_dim"] < scores["bits_per_dim"]
  assert "bits/dim at most" in out
