"""Classifiers as condition networks are trained first and then fixed."""

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build, open_source
from cinn_jax.runtime import sharding
from cinn_jax.training import pretraining
from cinn_jax.training.train import train
from cinn_jax.workdir.state import init_state
from cinn_jax.workdir.trained import restore
from tests.support import tiny
from tests.support.interruption import interrupt_after


def _config(**train):
  steps = {"num_steps": 5, "eval_every": 2, "sheet_every": 9, "batch_size": 16}
  config = tiny.color_digits(**{**steps, **train})
  # If weight decay or averages reached the classifier, it would show.
  config.optimizer.weight_decay = 1.0
  config.pretrain.epochs = 1
  return config


def _pretrain(config):
  """Returns a new state of `config`, the pretrained one, and (flow, task)."""
  flow, task = build(config)
  key = jax.random.key(0, impl="rbg")  # compiles fast

  class Optimizer:
    init = staticmethod(lambda params: ())

  state = jax.jit(lambda: init_state(key, flow, task, Optimizer))()
  train_source, validation_source = (
    open_source(config, task, split) for split in ("train", "validation")
  )
  shardings = sharding.state_shardings(
    state, sharding.make_mesh(), fully_sharded=False
  )
  pretrained = pretraining.pretrain(
    state,
    config=config,
    flow=flow,
    task=task,
    train_source=train_source,
    validation_source=validation_source,
    shardings=shardings,
  )
  return state, pretrained, (flow, task)


def _classifier(constants):
  """Returns the parameters of a classifier as a list."""
  tree = constants["constants"]["condition_net"]["classifier"]
  return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def _differ(one, other):
  return [bool(np.any(a != b)) for a, b in zip(one, other, strict=True)]


@pytest.mark.slow
def test_training_does_not_change_it(tmp_path, monkeypatch):
  results, fit_logits = [], pretraining.fit_logits

  def remember(*arguments, **options):
    params = fit_logits(*arguments, **options)
    results.append([np.array(leaf) for leaf in jax.tree.leaves(params)])
    return params

  monkeypatch.setattr(pretraining, "fit_logits", remember)
  with monkeypatch.context() as patch:
    interrupt_after(patch, 3)
    with pytest.raises(KeyboardInterrupt):
      train(_config(), tmp_path)
  before = restore(tmp_path)
  train(_config(), tmp_path)
  after = restore(tmp_path)
  assert (before.step, after.step) == (2, 5)
  # Pretraining ran once; steps, decay and the average left its result alone.
  [pretrained] = results
  for run in (before, after):
    assert not any(_differ(_classifier(run.variables), pretrained))
  # Only the flow is trained, and it changed.
  assert list(after.variables["params"]) == ["bijection"]
  params = (jax.tree.leaves(run.variables["params"]) for run in (before, after))
  assert all(_differ(*params))
  config = _config(num_steps=9)
  config.pretrain.momentum = 0.9
  with pytest.raises(ValueError, match=r"pretrain\.momentum is 0\.9, was"):
    train(config, tmp_path)


@pytest.mark.slow
def test_result_depends_only_on_the_seed():
  first, again, other = (
    _classifier(_pretrain(_config(seed=seed))[1].fit.constants)
    for seed in (0, 0, 1)
  )
  assert not any(_differ(first, again))
  assert all(_differ(first, other))


@pytest.mark.slow
def test_it_classifies_new_pictures(capsys):
  config = _config()
  config.pretrain.epochs = 8
  _, state, (flow, task) = _pretrain(config)
  source = open_source(config, task, "test")
  cond, labels = pretraining.read_conditions(source, task)
  net = flow.module.condition_net.classifier()
  params = state.fit.constants["constants"]["condition_net"]["classifier"]
  _, logits = net.apply({"params": params}, cond)
  assert len(labels) == 360
  assert np.mean(np.argmax(logits, axis=1) == labels) > 0.9
  out = capsys.readouterr().out
  assert "trained to classify: 9" in out and "180 held-out pictures" in out
  # The rest of the state is unchanged.
  assert state.step == 0
  assert set(state.fit.constants) == {"constants"}
  assert set(state.fit.constants["constants"]) == {"bijection", "condition_net"}


def test_without_epochs_it_keeps_its_initial_values(monkeypatch):
  monkeypatch.setattr(pretraining, "fit_logits", None)
  config = _config()
  config.pretrain.epochs = 0
  given, state, _ = _pretrain(config)
  jax.tree.map(np.testing.assert_array_equal, state, given)


def test_pretrain_must_fit_the_model():
  config = _config()
  del config["pretrain"]
  with pytest.raises(ValueError, match="classifier; color_mnist needs it"):
    _pretrain(config)
  config = tiny.digits()
  config.pretrain = _config().pretrain
  with pytest.raises(ValueError, match="classifier; dense_cinn has none"):
    _pretrain(config)


def test_pictures_without_labels_raise():
  class Unlabelled:
    name = "unlabelled"

    def __len__(self):
      return 3

    def __getitem__(self, index):
      image = np.zeros((8, 8, 3), np.uint8)
      return {"image": image, "grey": image}

  _, task = build(_config())
  with pytest.raises(ValueError, match="unlabelled has no labels"):
    pretraining.read_conditions(Unlabelled(), task)
