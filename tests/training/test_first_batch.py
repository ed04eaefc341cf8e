"""ActNorm is initialised from the run's first pictures."""

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax import models
from cinn_jax.data import loader
from cinn_jax.experiment.build import build, open_source
from cinn_jax.training.train import train
from tests.support import tiny


@pytest.fixture(autouse=True)
def actnorm(monkeypatch):
  builder = tiny.with_actnorm("dense_cinn")
  monkeypatch.setitem(models.BUILDERS, "dense_cinn", builder)


def _config(num_steps, learning_rate=1e-3):
  config = tiny.digits(num_steps=num_steps, eval_every=2, sheet_every=9)
  config.optimizer.update(
    {"learning_rate": learning_rate, "schedule": "constant"}
  )
  # Raw pixels, which are far from standardised.
  config.task.update({"mean": 0.0, "std": 1.0})
  return config


def _actnorm_params(workdir):
  _, variables = cinn_jax.load(workdir)
  return variables["params"]["bijection"]["parts_0"]


def _train_a_step(workdir, pictures):
  """Trains for one step, too small to move the parameters."""
  config = _config(1, learning_rate=1e-9)
  config.train.init_batch_size = pictures
  train(config, workdir)
  return config


def _batches(config):
  """Yields what the flow gets of the run's batches."""
  _, task = build(config)
  batches = loader.training_batches(
    open_source(config, task, "train"),
    image_size=task.image_size,
    batch_size=config.train.init_batch_size or config.train.batch_size,
    seed=config.train.seed,
    **config.augment,
  )
  key = jax.random.key(config.train.seed)
  for step, batch in enumerate(batches):
    noise = jax.random.fold_in(key, step)
    yield np.asarray(task.add_noise(noise, *task.prepare(batch))[0])


def _assert_from(x, workdir):
  params = _actnorm_params(workdir)
  np.testing.assert_allclose(params["bias"], -np.mean(x), rtol=1e-4)
  np.testing.assert_allclose(params["log_scale"], -np.log(np.std(x)), rtol=1e-4)


def test_values_come_from_the_first_pictures_and_stay(tmp_path, capsys):
  config = _train_a_step(tmp_path, 256)
  batches = _batches(config)
  first, second = next(batches), next(batches)
  _assert_from(first, tmp_path)
  assert abs(np.mean(first) / np.mean(second) - 1) > 1e-3
  config.train.num_steps = 2
  train(config, tmp_path)
  assert "Resuming from step 1" in capsys.readouterr().out
  _assert_from(first, tmp_path)


@pytest.mark.slow
def test_by_default_they_come_from_the_first_batch(tmp_path):
  config = _train_a_step(tmp_path, 0)
  _assert_from(next(_batches(config)), tmp_path)


def test_negative_number_of_pictures_raises(tmp_path):
  config = _config(1)
  config.train.init_batch_size = -1
  with pytest.raises(ValueError, match=r"init_batch_size is -1, expected"):
    train(config, tmp_path)


@pytest.mark.slow
def test_resumed_run_ends_with_the_same_values(tmp_path):
  for num_steps in (2, 4):
    train(_config(num_steps), tmp_path / "resumed")
  train(_config(4), tmp_path / "at_once")
  jax.tree.map(
    np.testing.assert_array_equal,
    _actnorm_params(tmp_path / "resumed"),
    _actnorm_params(tmp_path / "at_once"),
  )
