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


@pytest.mark.parametrize(
  "pictures", [256, pytest.param(0, marks=pytest.mark.slow)]
)
def test_initial_values_come_from_the_first_pictures(pictures, tmp_path):
  config = _config(1, learning_rate=1e-9)
  config.train.init_batch_size = pictures
  train(config, tmp_path)
  _, task = build(config)
  batches = loader.training_batches(
    open_source(config, task, "train"),
    image_size=task.image_size,
    batch_size=pictures or config.train.batch_size,
    seed=config.train.seed,
    **config.augment,
  )
  key = jax.random.key(config.train.seed)
  x, _ = task.add_noise(
    jax.random.fold_in(key, 0), *task.prepare(next(batches))
  )
  params = _actnorm_params(tmp_path)
  np.testing.assert_allclose(params["bias"], -np.mean(x), rtol=1e-4)
  np.testing.assert_allclose(params["log_scale"], -np.log(np.std(x)), rtol=1e-4)


def test_negative_number_of_pictures_raises(tmp_path):
  config = _config(1)
  config.train.init_batch_size = -1
  with pytest.raises(ValueError, match=r"init_batch_size is -1, expected"):
    train(config, tmp_path)


def test_resumed_run_keeps_them(tmp_path):
  for num_steps in (2, 4):
    train(_config(num_steps), tmp_path / "resumed")
  train(_config(4), tmp_path / "at_once")
  jax.tree.map(
    np.testing.assert_array_equal,
    _actnorm_params(tmp_path / "resumed"),
    _actnorm_params(tmp_path / "at_once"),
  )
