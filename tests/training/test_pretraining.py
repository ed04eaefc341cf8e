"""Condition networks that are classifiers: trained first, never moved after."""

import jax
import numpy as np
import pytest

from cinn_jax import experiment
from cinn_jax.training import monitor, pretraining, train
from tests import tiny


def _config(**train):
  steps = {"num_steps": 3, "eval_every": 2, "sheet_every": 9, "batch_size": 16}
  config = tiny.color_digits(**{**steps, **train})
  config.optimizer.weight_decay = 0.1
  config.pretrain.epochs = 1
  return config


def _classifier(workdir):
  """The parameters of the newest checkpoint's classifier, as a list."""
  variables = experiment.restore(workdir).variables
  tree = variables["constants"]["condition_net"]["classifier"]
  return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _same(ours, theirs):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.fixture
def made(monkeypatch):
  """What pretraining made, one entry per time that it ran."""
  results, trained = [], pretraining._trained

  def remember(*arguments, **options):
    params = trained(*arguments, **options)
    results.append([np.copy(leaf) for leaf in jax.tree.leaves(params)])
    return params

  monkeypatch.setattr(pretraining, "_trained", remember)
  return results


def test_training_and_resuming_leave_the_classifier_as_it_is(
  tmp_path, made, monkeypatch
):
  read = monitor.Monitor._read

  def interrupt(self, step, metrics):
    read(self, step, metrics)
    if step == 3:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(monitor.Monitor, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
      train.train(_config(num_steps=5), tmp_path)
  [pretrained] = made
  _same(_classifier(tmp_path), pretrained)
  before = experiment.restore(tmp_path)
  assert before.step == 2
  train.train(_config(num_steps=5), tmp_path)
  after = experiment.restore(tmp_path)
  # It ran once, and neither steps, decay nor the average moved what it made.
  assert len(made) == 1 and after.step == 5
  _same(_classifier(tmp_path), pretrained)
  moved = jax.tree.map(
    lambda a, b: bool(np.any(a != b)),
    before.variables["params"],
    after.variables["params"],
  )
  assert any(jax.tree.leaves(moved))
  # The optimizer and the average know of nothing but what trains.
  assert list(after.variables["params"]) == ["bijection"]


def test_pretraining_depends_on_the_seed_alone(tmp_path, made):
  for k, seed in enumerate((0, 0, 1)):
    train.train(_config(num_steps=1, seed=seed), tmp_path / str(k))
  _same(made[0], made[1])
  assert any(np.any(a != b) for a, b in zip(made[0], made[2], strict=True))


def test_it_learns_to_classify_what_it_has_not_seen(tmp_path, capsys):
  config = _config(num_steps=1)
  config.pretrain.epochs = 8
  train.train(config, tmp_path)
  trained = experiment.restore(tmp_path)
  source = experiment.open_source(trained.config, "test")
  cond, labels = pretraining._read(source, trained.task)
  net = trained.flow.module.condition_net.classifier()
  params = trained.variables["constants"]["condition_net"]["classifier"]
  _, logits = net.apply({"params": params}, cond)
  right = np.mean(np.argmax(logits, axis=1) == labels)
  assert len(labels) == 360 and right > 0.9
  out = capsys.readouterr().out
  assert "trained to classify: 9" in out and "180 held-out pictures" in out


def test_without_epochs_it_stays_as_it_starts(tmp_path, made):
  config = _config(num_steps=1)
  config.pretrain.epochs = 0
  train.train(config, tmp_path)
  assert not made and all(np.isfinite(a).all() for a in _classifier(tmp_path))


def test_a_resumed_run_cannot_change_its_pretraining(tmp_path):
  train.train(_config(num_steps=1), tmp_path)
  config = _config(num_steps=2)
  config.pretrain.momentum = 0.9
  with pytest.raises(ValueError, match=r"pretrain\.momentum is 0\.9, was"):
    train.train(config, tmp_path)


def test_configs_that_do_not_fit_are_refused(tmp_path):
  config = _config()
  del config["pretrain"]
  with pytest.raises(ValueError, match="classifier; color_mnist needs it"):
    train.train(config, tmp_path / "without")
  config = tiny.digits()
  config.pretrain = _config().pretrain
  with pytest.raises(ValueError, match="classifier; dense_cinn is no such"):
    train.train(config, tmp_path / "with")


def test_pictures_without_labels_are_refused():
  class Unlabelled:
    name = "unlabelled"

    def __len__(self):
      return 3

    def __getitem__(self, index):
      image = np.zeros((8, 8, 3), np.uint8)
      return {"image": image, "grey": image}

  _, task = experiment.build(_config())
  with pytest.raises(ValueError, match="unlabelled has no labels"):
    pretraining._read(Unlabelled(), task)
