"""Pretraining of condition networks, before the flow is trained."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.evaluation.by_task.classifier import fit_logits, make_classify
from cinn_jax.flow import Flow
from cinn_jax.models.color_mnist import ClassifierFeatures
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.pairs.paired_flow import PairedFlow
from cinn_jax.runtime import processes
from cinn_jax.tasks import Task
from cinn_jax.training.encoder_pretraining import pretrain_encoder
from cinn_jax.workdir.state import State

_READ = 256


def pretrain(
  state: State,
  *,
  config: ConfigDict,
  flow: Flow,
  task: Task,
  train_source: Source,
  validation_source: Source,
  shardings: State,
  alive: Callable[[], None] = lambda: None,
) -> State:
  """Trains the condition network of a new run as `config.pretrain` says.

  An `RRDBEncoder` learns to predict the picture if the config has a section
  `pretrain`; see `pretrain_encoder`. `ClassifierFeatures` become a classifier
  of the conditions (not of x) of the training pictures, by SGD. The classifier
  belongs to the state's constants, so a resumed run restores it from its
  checkpoint. The same seed gives the same classifier. States of other models
  are returned as they are; models of two flows are pretrained in the run's own
  steps, see `phases`.

  Args:
    state: The state at step 0.
    config: Config of the run. For a classifier, its `pretrain` has `epochs`,
      `batch_size`, `learning_rate` and `momentum`; with 0 epochs the classifier
      keeps its random initial values.
    flow: The flow of the run.
    task: The task of the run.
    train_source: Pictures to train on, with labels for a classifier.
    validation_source: Pictures to test the classifier on, with labels.
    shardings: A `State` of shardings, where the arrays live.
    alive: Called before every step of an encoder.

  Returns:
    The state with the trained condition network.

  Raises:
    ValueError: if `pretrain` does not fit the model, or the pictures have no
      labels.
  """
  if isinstance(flow.module, PairedFlow):
    return state
  net = getattr(flow.module, "condition_net", None)
  if isinstance(net, RRDBEncoder):
    if "pretrain" not in config:
      return state
    return pretrain_encoder(
      state,
      config=config,
      flow=flow,
      task=task,
      source=train_source,
      shardings=shardings,
      alive=alive,
    )
  if isinstance(net, ClassifierFeatures) != ("pretrain" in config):
    raise ValueError(
      "config.pretrain is for models whose condition network is a classifier;"
      f" {config.model.name} "
      + ("has none." if "pretrain" in config else "needs it.")
    )
  if net is None or "pretrain" not in config or not config.pretrain.epochs:
    return state
  constants = state.fit.constants
  values = constants["constants"]["condition_net"]
  places = shardings.fit.constants["constants"]["condition_net"]
  params = _train_classifier(
    net.classifier(),
    # A copy on this process's own device: training donates it.
    multihost_utils.process_allgather(values["classifier"], tiled=True),
    read_conditions(train_source, task),
    read_conditions(validation_source, task),
    seed=config.train.seed,
    **config.pretrain.to_dict(),
  )
  if jax.process_count() > 1:
    # Each trained a copy, and GPUs may differ in the last bit.
    params = multihost_utils.broadcast_one_to_all(params)
  params = jax.device_put(params, places["classifier"])
  constants = {
    **constants,
    "constants": {
      **constants["constants"],
      "condition_net": {**values, "classifier": params},
    },
  }
  return state._replace(fit=state.fit._replace(constants=constants))


def _train_classifier(
  classifier,
  params,
  training,
  validation,
  *,
  seed,
  epochs,
  batch_size,
  learning_rate,
  momentum,
):
  """Returns parameters as numpy arrays, and prints the held-out accuracy."""

  def logits(params, grey, rng=None):
    _, output = classifier.apply(
      {"params": params},
      grey,
      deterministic=rng is None,
      rngs=None if rng is None else {"dropout": rng},
    )
    return output

  params = fit_logits(
    logits,
    params,
    optax.sgd(learning_rate, momentum),
    *training,
    steps=-(-epochs * len(training[1]) // batch_size),
    batch_size=batch_size,
    seed=seed,
  )
  grey, labels = validation
  accuracy = np.mean(make_classify(logits, params)(grey) == labels)
  print(
    f"The condition network was trained to classify: {100 * accuracy:.1f} % of"
    f" {len(labels):,} held-out pictures. It is not trained any further."
  )
  return jax.tree.map(np.asarray, params)


def read_conditions(source: Source, task: Task) -> tuple[Any, np.ndarray]:
  """Reads the conditions [N, ...] and labels [N] of a source.

  Raises:
    ValueError: if the source has no labels.
  """
  condition = jax.jit(lambda batch: task.prepare(batch)[1])
  batches = loader.evaluation_batches(
    source, image_size=task.image_size, batch_size=_READ
  )
  bar = tqdm(
    batches,
    total=-(-len(source) // _READ),
    unit="batch",
    desc="reading",
    disable=not processes.is_first(),
  )
  conds, labels = [], []
  for batch in bar:
    mask = batch.pop("mask")
    if "label" not in batch:
      raise ValueError(
        f"{source.name} has no labels, but the condition network needs them for"
        " its training: choose another --config.data.source."
      )
    conds.append(np.asarray(condition(batch))[mask])
    labels.append(batch["label"][mask])
  return np.concatenate(conds), np.concatenate(labels)
